/**
 * Who a node of a cluster is: DIR/node.json says it, DIR/tls proves it (docs/cluster.md, "One node on disk"). Read by its engine and its
 * control at their start.
 */

import { X509Certificate, createPrivateKey } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../../model/errors.ts';
import { isNodeName } from '../../model/ids.ts';
import type { NodeLabels } from '../../model/records.ts';
import { type TcpAddress, socketAddressOf } from '../tcp-address.ts';
import type { NodeIdentity } from './cluster-tls.ts';

/** DIR/node.json. */
export type ClusterNode = {
  /** Id of the cluster, and name of the node in it: 1 to 64 of [a-z0-9-]. */
  readonly cluster: string;
  readonly node: string;
  /** What they say anew at a start of control counts; between that the API labels it. */
  readonly labels: NodeLabels;
  /** Where other engines reach this one, and whether frames between them are encrypted: unless the file says no. */
  readonly peer: TcpAddress & { readonly sealed: boolean };
};

const FIELDS = ['version', 'cluster', 'node', 'labels', 'peer'];
const LABELS = ['region', 'zone', 'rack'];
const PEER_FIELDS = ['host', 'port', 'sealed'];

/** DIR/node.json. */
export const nodeFileOf = (directory: string): string => path.join(directory, 'node.json');

/** Files of DIR/tls: the certificate of the cluster's authority, the node's, and the node's key. All PEM. */
export const tlsFilesOf = (directory: string) => ({
  authority: path.join(directory, 'tls', 'ca.pem'),
  certificate: path.join(directory, 'tls', 'node.pem'),
  key: path.join(directory, 'tls', 'node.key'),
});

/** What a certificate names a node by (docs/peer-protocol.md, "Who is who"). */
export const nodeUri = ({ cluster, node }: Pick<ClusterNode, 'cluster' | 'node'>): string =>
  `holdfast://${cluster}/node/${node}`;

/** The node that the installation in `directory` is; undefined: none, it is a single machine. Throws NODE_INVALID. */
export function readNode(directory: string): ClusterNode | undefined {
  const file = nodeFileOf(directory);
  // One that is there and may not be looked at is no single machine.
  if (reading(file, () => fs.statSync(file, { throwIfNoEntry: false })) === undefined) {
    return undefined;
  }
  const refused = (problem: string): Refusal => new Refusal('NODE_INVALID', { file, problem });
  const fields = reading(file, () => objectIn(JSON.parse(fs.readFileSync(file, 'utf8'))));
  const { version, cluster, node } = fields;
  const labels = objectIn(fields['labels']);
  const peer = objectIn(fields['peer']);
  if (version !== 1) throw refused(`it has version ${String(version)}, and this build reads 1`);
  const unknown = [
    ...namesBeside(FIELDS, fields),
    ...namesBeside(LABELS, labels),
    ...namesBeside(PEER_FIELDS, peer),
  ];
  if (unknown.length > 0) throw refused(`"${unknown[0]}" is nothing that it can have`);
  if (!isNodeName(cluster)) throw refused('"cluster" is 1 to 64 small letters, digits and "-"');
  if (!isNodeName(node)) throw refused('"node" is 1 to 64 small letters, digits and "-"');
  const { region = '', zone = '', rack = '' } = labels;
  if (typeof region !== 'string' || typeof zone !== 'string' || typeof rack !== 'string') {
    throw refused('a label is a text');
  }
  const address = addressIn(peer);
  const { sealed = true } = peer;
  if (address === undefined) {
    throw refused('"peer" is an IP address and a port, such as {"host":"10.0.0.1","port":7171}');
  }
  if (typeof sealed !== 'boolean') throw refused('"sealed" is true or false');
  return { cluster, node, labels: { region, zone, rack }, peer: { ...address, sealed } };
}

/**
 * What `node` proves itself with. Throws NODE_INVALID, which names the file, where one is missing, the certificate is another's or another
 * authority's, or the key is none of it: the other nodes would refuse it, with fewer words.
 */
export function readNodeIdentity(directory: string, node: ClusterNode): NodeIdentity {
  const files = tlsFilesOf(directory);
  const authority = readText(files.authority);
  const certificate = readText(files.certificate);
  const key = readText(files.key);
  const issuer = reading(files.authority, () => new X509Certificate(authority));
  const own = reading(files.certificate, () => new X509Certificate(certificate));
  const privateKey = reading(files.key, () => createPrivateKey(key));
  if (own.subjectAltName !== `URI:${nodeUri(node)}`) {
    const actual = own.subjectAltName ?? 'nobody';
    const problem = `it is for ${actual}, and "${nodeFileOf(directory)}" says ${nodeUri(node)}`;
    throw new Refusal('NODE_INVALID', { file: files.certificate, problem });
  }
  if (!own.checkIssued(issuer) || !own.verify(issuer.publicKey)) {
    const problem = `"${files.authority}" is not the authority that issued it`;
    throw new Refusal('NODE_INVALID', { file: files.certificate, problem });
  }
  if (!own.checkPrivateKey(privateKey)) {
    const problem = `it is not the key of "${files.certificate}"`;
    throw new Refusal('NODE_INVALID', { file: files.key, problem });
  }
  return { cluster: node.cluster, authority, certificate, key };
}

function readText(file: string): string {
  return reading(file, () => fs.readFileSync(file, 'utf8'));
}

function reading<Result>(file: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw new Refusal('NODE_INVALID', { file, problem: whyOf(error) });
  }
}

const whyOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function objectIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

const namesBeside = (known: readonly string[], fields: object): string[] =>
  Object.keys(fields).filter((name) => !known.includes(name));

function addressIn({ host, port }: ReturnType<typeof objectIn>): TcpAddress | undefined {
  if (typeof host !== 'string' || typeof port !== 'number' || port === 0) return undefined;
  return socketAddressOf({ host, port }) === undefined ? undefined : { host, port };
}
