/**
 * A cluster's certificate authority (docs/peer-protocol.md, "Who is who"): whoever has its key makes nodes of the cluster. Its key is
 * DIR/tls/ca.key of where the cluster was made.
 */

import {
  type KeyObject,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
} from 'node:crypto';

import { nodeUri } from '../env/node/node-identity.ts';
import { type Issuer, certify } from './certificate.ts';

/** A certificate and its key, in PEM: of the authority, or of a node. */
export type Certified = { readonly certificate: string; readonly key: string };

const newKeys = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

const keyText = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

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
export function newNodeCertificate(
  authority: Certified,
  node: { readonly cluster: string; readonly node: string },
): Certified {
  const { publicKey, privateKey } = newKeys();
  const subject = {
    name: node.node,
    publicKey,
    use: { kind: 'peer', uri: nodeUri(node) },
  } as const;
  const certificate = certify(subject, issuerOf(authority, node.cluster));
  return { certificate, key: keyText(privateKey) };
}

function issuerOf({ key }: Certified, name: string): Issuer {
  const privateKey = createPrivateKey(key);
  return { name, privateKey, publicKey: createPublicKey(privateKey) };
}
