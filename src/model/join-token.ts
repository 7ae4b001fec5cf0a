/**
 * What a machine needs to become a node of a cluster, as one word: `hfj1.` and base64url of
 * `{"cluster","authority","secret","addresses"}`. Whoever has it before it is used or has ended makes one node.
 */

import { Refusal } from './errors.ts';
import { isNodeName } from './ids.ts';

export type JoinToken = {
  readonly cluster: string;
  /** SHA-256 of the certificate of the cluster's authority, in hex. */
  readonly authority: string;
  /** 32 random bytes, in hex. */
  readonly secret: string;
  /** Where nodes of the cluster take joins: `10.0.0.1:7172`, `[fd00::1]:7172`. */
  readonly addresses: readonly string[];
};

const BEGINNING = 'hfj1.';
const HEX_64 = /^[0-9a-f]{64}$/;
const ADDRESS = /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):(\d{1,5})$/;

/** The token as a word. */
export const formatJoinToken = ({ cluster, authority, secret, addresses }: JoinToken): string =>
  BEGINNING +
  Buffer.from(JSON.stringify({ cluster, authority, secret, addresses })).toString('base64url');

/** Throws JOIN_TOKEN_INVALID, without a word of the token. */
export function parseJoinToken(word: string): JoinToken {
  const text = word.trim();
  if (!text.startsWith(BEGINNING)) {
    throw refused(`it does not begin with "${BEGINNING}"`);
  }
  const { cluster, authority, secret, addresses } = fieldsIn(text.slice(BEGINNING.length));
  const isWhole =
    isNodeName(cluster) &&
    isHex(authority) &&
    isHex(secret) &&
    Array.isArray(addresses) &&
    addresses.length > 0 &&
    addresses.every((each) => typeof each === 'string' && ADDRESS.test(each));
  if (!isWhole) throw refused('a part of it is missing: it was not copied as a whole');
  return { cluster, authority, secret, addresses };
}

const isHex = (text: unknown): text is string => typeof text === 'string' && HEX_64.test(text);

function fieldsIn(text: string): Readonly<Record<keyof JoinToken, unknown>> {
  try {
    return { ...JSON.parse(Buffer.from(text, 'base64url').toString()) };
  } catch {
    throw refused('a part of it is missing: it was not copied as a whole');
  }
}

const refused = (problem: string): Refusal => new Refusal('JOIN_TOKEN_INVALID', { problem });

/** Host and port of an address in a token. */
export function addressParts(address: string): { readonly host: string; readonly port: number } {
  const [, v6, v4 = '', port] = ADDRESS.exec(address) ?? [];
  return { host: v6 ?? v4, port: Number(port) };
}
