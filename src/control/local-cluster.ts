/**
 * A cluster whose nodes are all on this machine: `holdfast up --nodes N`. Its directory has
 *
 *     cluster.json       {"version":1,"cluster":ID,"nodes":["a","b","c"],"inode":of the directory}: made first; whatever it names is made by the
 *                        next start where it is missing
 *     tls/               ca.pem, ca.key: the cluster's authority
 *     state.db           the store of all nodes
 *     nodes/NAME/        an installation of its own for each, with its node.json, tls/ and store.json (docs/cluster.md, "One node on disk")
 *     lock               held while nodes are made or removed
 */

import fs from 'node:fs';
import path from 'node:path';

import { Refusal } from '../model/errors.ts';
import { isNodeName } from '../model/ids.ts';
import { replaceFile } from './installation.ts';

export type LocalCluster = {
  /** Absolute. */
  readonly directory: string;
  readonly id: string;
  /** In order of their making. */
  readonly nodes: readonly string[];
  /** Of the directory in which it was made: that of a copy is another. */
  readonly inode: number;
};

/** DIR/cluster.json. */
export const clusterFileOf = (directory: string): string => path.join(directory, 'cluster.json');

/** The installation of a node: DIR/nodes/NAME. */
export const nodeDirectoryOf = (
  { directory }: Pick<LocalCluster, 'directory'>,
  node: string,
): string => path.join(directory, 'nodes', node);

/** What the directory of a cluster has besides its nodes. */
export const CLUSTER_NAMES: readonly string[] = [
  'state.db',
  'state.db-wal',
  'state.db-shm',
  'tls',
  // Of a tour.
  'log',
  'lock',
  'cluster.json.new',
  'cluster.json',
];

/** The cluster in `directory` (absolute); undefined: there is none. Throws CLUSTER_INVALID. */
export function readLocalCluster(directory: string): LocalCluster | undefined {
  const file = clusterFileOf(directory);
  const refused = (problem: string): Refusal => new Refusal('CLUSTER_INVALID', { file, problem });
  let fields: Readonly<Record<'version' | 'cluster' | 'nodes' | 'inode', unknown>>;
  try {
    fields = JSON.parse(fs.readFileSync(file, 'utf8')) as typeof fields;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // What may not be looked at is refused by name where something is done with it.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(code ?? '')) return undefined;
    throw refused(message);
  }
  const { version, cluster, nodes, inode } = fields;
  if (version !== 1) throw refused(`it has version ${String(version)}, and this build reads 1`);
  if (!isNodeName(cluster)) throw refused('"cluster" is 1 to 64 small letters, digits and "-"');
  if (!Array.isArray(nodes) || !nodes.every(isNodeName))
    throw refused('"nodes" is a list of names');
  return { directory, id: cluster, nodes, inode: Number(inode) };
}

/** Writes which nodes the cluster has. */
export function keepLocalCluster({ directory, id, nodes, inode }: LocalCluster): void {
  const text = JSON.stringify({ version: 1, cluster: id, nodes, inode });
  replaceFile(clusterFileOf(directory), `${text}\n`);
}

/** Whether its nodes have the identities of those of another directory, from which it was copied. */
export const isCopied = ({ directory, inode }: LocalCluster): boolean =>
  fs.statSync(directory).ino !== inode;

/** The cluster on this machine that the installation in `directory` is a node of. */
export function localClusterOf(directory: string): LocalCluster | undefined {
  const cluster = readLocalCluster(path.resolve(directory, '../..'));
  const name = path.basename(directory);
  const isNode =
    cluster?.nodes.includes(name) === true && nodeDirectoryOf(cluster, name) === directory;
  return isNode ? cluster : undefined;
}

/** Has the cluster on this machine that the installation in `directory` is a node of no longer name it. */
export function leaveLocalCluster(directory: string): void {
  const cluster = localClusterOf(directory);
  if (cluster === undefined) return;
  const nodes = cluster.nodes.filter((node) => node !== path.basename(directory));
  keepLocalCluster({ ...cluster, nodes });
}
