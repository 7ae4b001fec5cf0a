/** Writes what a node keeps of itself (docs/cluster.md, "One node on disk"); it is read by env/node/node-identity.ts. */

import path from 'node:path';

import { makeDirectory } from '../env/node/make-directory.ts';
import { nodeFileOf, tlsFilesOf } from '../env/node/node-identity.ts';
import type { TcpAddress } from '../env/tcp-address.ts';
import type { NodeLabels } from '../model/records.ts';
import { replaceFile } from './installation.ts';

/** Writes DIR/tls: the certificate of the cluster's authority, the node's, and the node's key, in PEM. */
export function keepIdentity(
  directory: string,
  identity: { readonly authority: string; readonly certificate: string; readonly key: string },
): void {
  const files = tlsFilesOf(directory);
  makeDirectory(path.dirname(files.key), 0o700);
  replaceFile(files.authority, identity.authority);
  replaceFile(files.certificate, identity.certificate);
  replaceFile(files.key, identity.key);
}

/** Which node a machine is to be, and where its engine is reached. */
export type NodeWish = {
  readonly node: string;
  readonly labels: NodeLabels;
  readonly peer: TcpAddress;
};

/** Writes DIR/node.json: from then on the installation is that node, so that it comes last. */
export function keepNode(
  directory: string,
  { cluster, node, labels, peer }: NodeWish & { readonly cluster: string },
): void {
  const given = Object.fromEntries(Object.entries(labels).filter(([, label]) => label !== ''));
  const text = JSON.stringify({ version: 1, cluster, node, labels: given, peer });
  replaceFile(nodeFileOf(directory), `${text}\n`);
}
