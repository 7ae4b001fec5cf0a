/** Makes the nodes of a cluster on this machine (local-cluster.ts). */

import { randomInt, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';

import { nodeFileOf, readNode } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import {
  type Certified,
  authorityKeyOf,
  keepAuthority,
  newAuthority,
  newNodeCertificate,
  readAuthority,
} from './cluster-authority.ts';
import { replaceFile } from './installation.ts';
import {
  type LocalCluster,
  clusterFileOf,
  isCopied,
  keepLocalCluster,
  nodeDirectoryOf,
  readLocalCluster,
} from './local-cluster.ts';
import { keepIdentity, keepNode } from './node-files.ts';
import { sqliteFileOf } from './open-store.ts';
import { storeFileOf } from './store-settings.ts';

const HOST = '127.0.0.1';
/** Below those that Linux gives to connections (32768 on), so that a node finds its own free when it starts again. */
const PORTS = { from: 10_000, to: 32_768 };

/**
 * Makes the cluster in `directory`, or gives the one that is there more nodes, so that it has `count`; makes what an earlier call left
 * undone, and of a copy a cluster of its own. Throws CLUSTER_INVALID where there are more already, or the key of its authority is gone. The caller holds DIR/lock.
 */
export async function makeLocalNodes(directory: string, count: number): Promise<LocalCluster> {
  const before = readLocalCluster(directory) ?? newCluster(directory, []);
  if (isCopied(before)) return await makeLocalNodes(renewed(before).directory, count);
  const cluster = { ...before, nodes: withNames(before, count) };
  const unmade = cluster.nodes.filter((node) => !isMade(cluster, node));
  if (unmade.length === 0) return cluster;
  // From here on the directory is known as Holdfast's.
  keepLocalCluster(before);
  const authority = findAuthority(before);
  keepLocalCluster(cluster);
  for (const node of unmade) await makeNode(cluster, authority, node);
  return cluster;
}

const newCluster = (directory: string, nodes: readonly string[]): LocalCluster => ({
  directory,
  id: randomUUID(),
  nodes,
  inode: fs.statSync(directory).ino,
});

/** Takes the identities of the original away. Until that is done it counts as a copy. */
function renewed(copy: LocalCluster): LocalCluster {
  for (const node of copy.nodes)
    fs.rmSync(nodeFileOf(nodeDirectoryOf(copy, node)), { force: true });
  fs.rmSync(path.join(copy.directory, 'tls'), { recursive: true, force: true });
  const own = newCluster(copy.directory, copy.nodes);
  keepLocalCluster(own);
  return own;
}

/** Its nodes, and the first free letters for those that are to come. */
function withNames({ directory, nodes }: LocalCluster, count: number): readonly string[] {
  if (count < nodes.length) {
    const [last = ''] = nodes.slice(-1);
    const problem = `it has ${nodes.length} nodes (${nodes.join(', ')}), and "up" takes none away. To remove node "${last}": holdfast node drain ${last}, holdfast down --node ${last}, holdfast node rm ${last}, then holdfast uninstall --data ${nodeDirectoryOf({ directory }, last)}`;
    throw new Refusal('CLUSTER_INVALID', { file: clusterFileOf(directory), problem });
  }
  const free = LETTERS.filter((letter) => !nodes.includes(letter));
  return [...nodes, ...free.slice(0, count - nodes.length)];
}

const LETTERS: readonly string[] = Array.from('abcdefghijklmnopqrstuvwxyz');
export const LOCAL_NODES_MAX: number = LETTERS.length;

/** Its node.json is written last. */
const isMade = (cluster: LocalCluster, node: string): boolean =>
  fs.existsSync(nodeFileOf(nodeDirectoryOf(cluster, node)));

/** The authority, which is made before the first node is. */
function findAuthority(cluster: LocalCluster): Certified {
  const known = readAuthority(cluster.directory);
  if (known !== undefined) return known;
  if (cluster.nodes.some((node) => isMade(cluster, node))) {
    const problem = `"${authorityKeyOf(cluster.directory)}" is gone, and without it there are no more nodes`;
    throw new Refusal('CLUSTER_INVALID', { file: clusterFileOf(cluster.directory), problem });
  }
  const authority = newAuthority(cluster.id);
  keepAuthority(cluster.directory, authority);
  return authority;
}

async function makeNode(cluster: LocalCluster, authority: Certified, node: string): Promise<void> {
  const directory = nodeDirectoryOf(cluster, node);
  keepIdentity(directory, {
    authority: authority.certificate,
    ...newNodeCertificate(authority, { cluster: cluster.id, node }),
  });
  const store = { version: 1, sqlite: path.relative(directory, sqliteFileOf(cluster.directory)) };
  replaceFile(storeFileOf(directory), `${JSON.stringify(store)}\n`);
  keepNode(directory, {
    cluster: cluster.id,
    node,
    labels: { region: '', zone: node, rack: '' },
    peer: { host: HOST, port: await freePort(cluster) },
  });
}

/** A port that nobody has now, and none of the cluster's nodes when they run. */
async function freePort(cluster: LocalCluster): Promise<number> {
  const taken = cluster.nodes.map((node) => readNode(nodeDirectoryOf(cluster, node))?.peer.port);
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, HOST, () => server.close(() => resolve(true)));
  });
}
