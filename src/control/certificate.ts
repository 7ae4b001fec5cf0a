/**
 * Certificates of a cluster: X.509 version 3 (RFC 5280) in DER, with keys of P-256 and signatures of ECDSA with SHA-256 (RFC 5480, RFC
 * 5758). Node reads certificates and makes none; why the few that we need are written here: docs/decisions/0015.
 *
 *     Certificate     SEQUENCE { toBeSigned, algorithm, BIT STRING signature }
 *     toBeSigned      SEQUENCE { [0] version 2, serial, algorithm, issuer, validity, subject, public key, [3] extensions }
 *     Extension       SEQUENCE { id, critical BOOLEAN if true, OCTET STRING value }
 */

import { type KeyObject, createHash, randomBytes, sign } from 'node:crypto';

import { addressBytesOf } from '../env/tcp-address.ts';
import { assert } from '../lib/assert.ts';

/** The authority that signs: its name, and its key. */
export type Issuer = {
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
};

/** What a certificate is for: it signs others, or proves at both ends of a connection that who is at `uri` or `host` holds the key. */
export type Subject = {
  /** 1 to 64 characters. */
  readonly name: string;
  readonly publicKey: KeyObject;
  readonly use:
    | { readonly kind: 'authority' }
    | { readonly kind: 'peer'; readonly uri: string }
    /** `host`: an address of IPv4 or IPv6 in digits. */
    | { readonly kind: 'server'; readonly host: string };
};

/** A certificate for `subject` by `issuer`, in PEM. An authority's own is by itself. It has no end: docs/decisions/0015. */
export function certify(subject: Subject, issuer: Issuer): string {
  const toBeSigned = sequence(
    tagged(EXPLICIT_0, integer(Buffer.of(2))),
    integer(serialNumber()),
    SIGNED_BY,
    distinguishedName(issuer.name),
    ALWAYS,
    distinguishedName(subject.name),
    encoded(subject.publicKey),
    tagged(EXPLICIT_3, sequence(...extensions(subject, issuer))),
  );
  const signature = sign('sha256', toBeSigned, { key: issuer.privateKey, dsaEncoding: 'der' });
  const certificate = sequence(toBeSigned, SIGNED_BY, bitString(signature));
  const lines = certificate.toString('base64').replaceAll(/.{64}(?!$)/g, '$&\n');
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
}

/** RFC 5280, 4.2.1: what others check of a certificate. */
function extensions({ publicKey, use }: Subject, issuer: Issuer): Buffer[] {
  const common = [
    extension('2.5.29.14', octetString(keyIdOf(publicKey))),
    extension('2.5.29.35', sequence(tagged(IMPLICIT_0, keyIdOf(issuer.publicKey)))),
  ];
  if (use.kind === 'authority') {
    return [
      ...common,
      // It certifies nodes, and no other authority below it.
      critical('2.5.29.19', sequence(TRUE, integer(Buffer.of(0)))),
      critical('2.5.29.15', keyUsage(KEY_CERT_SIGN)),
    ];
  }
  return [
    ...common,
    critical('2.5.29.19', sequence()),
    critical('2.5.29.15', keyUsage(DIGITAL_SIGNATURE)),
    // For TLS servers and clients.
    extension('2.5.29.37', sequence(objectId('1.3.6.1.5.5.7.3.1'), objectId('1.3.6.1.5.5.7.3.2'))),
    extension('2.5.29.17', sequence(alternativeName(use))),
  ];
}

// Tags of DER (X.690, 8.1.2).
const EXPLICIT_0 = 0xa0;
const EXPLICIT_3 = 0xa3;
const IMPLICIT_0 = 0x80;
/** GeneralName, uniformResourceIdentifier and iPAddress. */
const NAME_URI = 0x86;
const NAME_ADDRESS = 0x87;

function alternativeName(use: Exclude<Subject['use'], { readonly kind: 'authority' }>): Buffer {
  if (use.kind === 'peer') return tagged(NAME_URI, Buffer.from(use.uri, 'latin1'));
  const address = addressBytesOf(use.host);
  assert(address !== undefined, 'a server has an address in digits');
  return tagged(NAME_ADDRESS, address);
}

// Bits of a key's usage (RFC 5280, 4.2.1.3), from the highest.
const DIGITAL_SIGNATURE = 0;
const KEY_CERT_SIGN = 5;

/** A value with its tag and length (X.690, 8.1.3). */
function tagged(tag: number, ...values: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(values);
  const { length } = value;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(tag, ...head), value]);
}

const sequence = (...values: readonly Uint8Array[]): Buffer => tagged(0x30, ...values);
/** `bytes`: not negative, and no longer than it must be. */
const integer = (bytes: Uint8Array): Buffer => tagged(0x02, bytes);
const octetString = (bytes: Uint8Array): Buffer => tagged(0x04, bytes);
const bitString = (bytes: Uint8Array, unusedBits = 0): Buffer =>
  tagged(0x03, Buffer.of(unusedBits), bytes);
const TRUE = tagged(0x01, Buffer.of(0xff));

/** Two numbers in one byte, then each in base 128 (X.690, 8.19). */
function objectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = rest.flatMap((number) => {
    const digits = [number % 128];
    for (let left = number >> 7; left > 0; left >>= 7) digits.unshift((left % 128) + 128);
    return digits;
  });
  return tagged(0x06, Buffer.of(first * 40 + second, ...bytes));
}

const extension = (id: string, value: Uint8Array): Buffer =>
  sequence(objectId(id), octetString(value));
const critical = (id: string, value: Uint8Array): Buffer =>
  sequence(objectId(id), TRUE, octetString(value));

const keyUsage = (bit: number): Buffer => bitString(Buffer.of(0x80 >> bit), 7 - bit);

/** Its common name alone. */
const distinguishedName = (name: string): Buffer =>
  sequence(tagged(0x31, sequence(objectId('2.5.4.3'), tagged(0x0c, Buffer.from(name)))));

/** ecdsa-with-SHA256. */
const SIGNED_BY = sequence(objectId('1.2.840.10045.4.3.2'));

/** From 1970, as a UTCTime, to what RFC 5280, 4.1.2.5 has for "no end". */
const ALWAYS = sequence(
  tagged(0x17, Buffer.from('700101000000Z')),
  tagged(0x18, Buffer.from('99991231235959Z')),
);

const encoded = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });

/** Unique without a list of those that were given: 126 random bits, positive, of full length. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = (bytes.readUInt8() & 0x3f) | 0x40;
  return bytes;
}

/** RFC 7093, 2: the beginning of the SHA-256 of the key. */
const keyIdOf = (key: KeyObject): Buffer =>
  createHash('sha256').update(encoded(key)).digest().subarray(0, 20);
