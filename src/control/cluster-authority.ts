/**
 * A cluster's certificate authority (docs/peer-protocol.md, "Who is who"): whoever has its key makes nodes of the cluster. Which nodes
 * have it: docs/cluster.md, "The authority".
 */

import {
  type KeyObject,
  X509Certificate,
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
} from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { makeDirectory } from '../env/node/make-directory.ts';
import { nodeUri } from '../env/node/node-identity.ts';
import { type Issuer, type Subject, certify } from './certificate.ts';
import { replaceFile } from './installation.ts';

/** A certificate and its key, in PEM: of the authority, or of a node. */
export type Certified = { readonly certificate: string; readonly key: string };

type NodeName = { readonly cluster: string; readonly node: string };

const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

const keyText = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

/** A fresh private key for a node, in PEM. */
export const newKey = (): string => keyText(newKeys().privateKey);

/** The authority of a new cluster. */
export function newAuthority(cluster: string): Certified {
  const keys = newKeys();
  const name = cluster;
  const certificate = certify(
    { name, publicKey: keys.publicKey, use: { kind: 'authority' } },
    { name, ...keys },
  );
  return { certificate, key: keyText(keys.privateKey) };
}

/** A fresh key for a node, with its certificate. */
export function newNodeCertificate(authority: Certified, node: NodeName): Certified {
  const key = newKey();
  return { certificate: nodeCertificate(authority, node, createPublicKey(key)), key };
}

/** The certificate, in PEM, of a node that has the private key of `publicKey`. */
export function nodeCertificate(
  authority: Certified,
  node: NodeName,
  publicKey: KeyObject,
): string {
  return issue(authority, node, { publicKey, use: { kind: 'peer', uri: nodeUri(node) } });
}

/** The same for a server of the node that is reached at `host` (an IP address), and that knows its clients by their certificates. */
export function serverCertificate(
  authority: Certified,
  { host, ...node }: NodeName & { readonly host: string },
  publicKey: KeyObject,
): string {
  return issue(authority, node, { publicKey, use: { kind: 'server', host } });
}

function issue(
  { key }: Certified,
  { cluster, node }: NodeName,
  subject: Omit<Subject, 'name'>,
): string {
  const privateKey = createPrivateKey(key);
  const issuer: Issuer = { name: cluster, privateKey, publicKey: createPublicKey(privateKey) };
  return certify({ ...subject, name: node }, issuer);
}

/** SHA-256 of an authority's certificate, in hex: by it a node that is to join knows the cluster. */
export const authorityHash = (certificate: string | X509Certificate): string =>
  createHash('sha256')
    .update(
      typeof certificate === 'string' ? new X509Certificate(certificate).raw : certificate.raw,
    )
    .digest('hex');

const filesOf = (directory: string) => ({
  certificate: path.join(directory, 'tls', 'ca.pem'),
  key: path.join(directory, 'tls', 'ca.key'),
});

/** DIR/tls/ca.key. */
export const authorityKeyOf = (directory: string): string => filesOf(directory).key;

/** The authority that DIR/tls has with its key; undefined: it has none, or its certificate alone. */
export function readAuthority(directory: string): Certified | undefined {
  const files = filesOf(directory);
  if (!fs.existsSync(files.key)) return undefined;
  return {
    certificate: fs.readFileSync(files.certificate, 'utf8'),
    key: fs.readFileSync(files.key, 'utf8'),
  };
}

/** Writes it into DIR/tls, for its owner alone. */
export function keepAuthority(directory: string, { certificate, key }: Certified): void {
  const { certificate: file } = filesOf(directory);
  makeDirectory(path.dirname(file), 0o700);
  replaceFile(file, certificate);
  // Last: {@link readAuthority} looks for it.
  keepAuthorityKey(directory, key);
}

/** Writes the key of an authority whose certificate is in DIR/tls. */
export const keepAuthorityKey = (directory: string, key: string): void =>
  replaceFile(authorityKeyOf(directory), key);
