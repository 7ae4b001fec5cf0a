/** The nodes of a cluster on this machine (control/local-cluster.ts): how they are, their end, and their upgrade. */

import path from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { isAlive } from '../../attacher/process-identity.ts';
import { type Installation, isInstallation } from '../../control/installation.ts';
import type { LocalCluster } from '../../control/local-cluster.ts';
import type { StatusView, VolumeView } from '../../control/schemas.ts';
import { type SupervisorState, readSupervisor } from '../../control/supervisor-state.ts';
import { livingRoles } from '../../control/own-processes.ts';
import { packageVersion } from '../../env/node/package-version.ts';
import { Refusal } from '../../model/errors.ts';
import { type Context, nodesOf, onNode } from '../context.ts';
import { colored, fields, table } from '../output.ts';
import { down } from './down.ts';
import { type DownWish, releaseAttached } from './release.ts';
import { upgrade } from './upgrade.ts';

const SYNC_MS_MAX = 60_000;
const SYNC_LOOK_MS = 500;

/** How each node is; `status` is null where its control does not answer. */
export type NodesStatus = {
  readonly cluster: string;
  readonly dataDir: string;
  readonly nodes: readonly NodeStatus[];
};

type NodeStatus = {
  readonly node: string;
  readonly dataDir: string;
  /** `up` while its supervisor lives; `left` where processes outlived it. */
  readonly state: 'up' | 'left' | 'down';
  readonly status: StatusView | null;
};

/** The name of the node that is this installation. */
export const nodeNameOf = ({ directory }: Installation): string => path.basename(directory);

/** The supervisor of an installation, where it lives. */
export function livingSupervisor({ runDirectory }: Installation): SupervisorState | undefined {
  const supervisor = readSupervisor(runDirectory);
  return supervisor !== undefined && isAlive(supervisor) ? supervisor : undefined;
}

/** Asks each node how it is. */
export async function readNodes(context: Context, cluster: LocalCluster): Promise<NodesStatus> {
  const nodes = nodesOf(cluster).map(async (installation): Promise<NodeStatus> => {
    const isUp = livingSupervisor(installation) !== undefined;
    const state = isUp ? 'up' : livingRoles(installation).length > 0 ? 'left' : 'down';
    const { api } = onNode(context, installation);
    const status =
      state === 'down' ? null : await api.get<StatusView>('/v1/status').catch(() => null);
    return { node: nodeNameOf(installation), dataDir: installation.directory, state, status };
  });
  return { cluster: cluster.id, dataDir: cluster.directory, nodes: await Promise.all(nodes) };
}

/** {@link NodesStatus} for people. */
export function describeNodes({ cluster, dataDir, nodes }: NodesStatus): string {
  const rows = nodes.map(({ node, state, status, dataDir: at }) => {
    const role = (name: string): string => status?.processes[name]?.state ?? '-';
    const drives = status?.drives.map((drive) => `${drive.name} (${drive.state})`).join(', ');
    return [node, state, role('engine'), role('attacher'), role('control'), drives ?? '-', at];
  });
  return [
    fields([
      ['Holdfast', packageVersion()],
      ['Data', dataDir],
      ['Cluster', cluster],
    ]),
    table(['NODE', 'STATE', 'ENGINE', 'ATTACHER', 'CONTROL', 'DRIVES', 'DATA'], rows),
    ...warningsOf(nodes).map((warning) => `${colored('yellow', 'Warning:')} ${warning}`),
  ].join('\n\n');
}

/** What is said of several nodes alike is said once. */
function warningsOf(nodes: readonly NodeStatus[]): readonly string[] {
  const named = new Map<string, string[]>();
  for (const { node, state, status, dataDir } of nodes) {
    const start = `it is ${state}: holdfast up --detach --data "${dataDir}" starts it`;
    for (const warning of [...(state === 'up' ? [] : [start]), ...(status?.warnings ?? [])]) {
      named.set(warning, [...(named.get(warning) ?? []), node]);
    }
  }
  return [...named].map(
    ([warning, of]) => `Node${of.length > 1 ? 's' : ''} ${of.join(', ')}: ${warning}`,
  );
}

/**
 * Ends the nodes, or the one of that name, in order; resolves with `idle` where nothing ran. All of them unmount before the first ends, since
 * what one has mounted may be on the drives of another. Throws MOUNT_BUSY, and ends nothing, while a process uses a mount.
 */
export async function downNodes(
  context: Context,
  cluster: LocalCluster,
  { node: name, ...wish }: DownWish & { readonly node?: string | undefined } = {},
): Promise<'ended' | 'idle'> {
  const wanted = nodesOf(cluster).filter((each) => nodeNameOf(each) === (name ?? nodeNameOf(each)));
  const made = wanted.filter(({ directory }) => isInstallation(directory));
  const nodes = made.map((installation) => onNode(context, installation));
  const [users] = await releaseNodes(nodes, wish);
  if (users !== undefined) throw new Refusal('MOUNT_BUSY', { path: cluster.directory, users });
  const ended = await Promise.all(nodes.map((node) => down(node, wish)));
  return ended.includes('ended') ? 'ended' : 'idle';
}

/** Has the nodes that run unmount all; resolves with what stands in the way. */
export async function releaseNodes(
  nodes: readonly Context[],
  wish: DownWish = {},
): Promise<readonly string[]> {
  const running = nodes.filter(({ installation }) => livingSupervisor(installation) !== undefined);
  const problems = running.map(async (node) =>
    (await releaseAttached(node, wish)).map(
      (problem) => `node ${nodeNameOf(node.installation)}: ${problem}`,
    ),
  );
  return (await Promise.all(problems)).flat();
}

/** Kills all processes of a node at once. Nothing acknowledged is lost; mounts are swept at its next start. */
export function killNode(installation: Installation): void {
  const supervisor = livingSupervisor(installation);
  const known = readSupervisor(installation.runDirectory)?.processes;
  const pids = livingRoles(installation).map((role) => known?.[role]?.pid);
  // The supervisor first: it would start the others again.
  for (const pid of [supervisor?.pid, ...pids]) {
    try {
      if (pid != null) process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Upgrades one node after the other: the others serve meanwhile. */
export async function upgradeNodes(context: Context, cluster: LocalCluster): Promise<void> {
  for (const installation of nodesOf(cluster)) {
    if (livingSupervisor(installation) === undefined) continue;
    await upgrade(onNode(context, installation));
    await replicasSynced(context);
  }
  const view = await readNodes(context, cluster);
  context.output.result(view, describeNodes(view));
}

/** Waits until replicas have what they missed: until then the next engine may be the last that has it. Not for ever: a drive may be lost. */
async function replicasSynced({ api, output }: Context): Promise<void> {
  const isBehind = ({ replicas }: VolumeView): boolean =>
    replicas.some(({ state }) => state === 'rebuilding' || state === 'stale');
  for (const deadline = performance.now() + SYNC_MS_MAX; ; await sleep(SYNC_LOOK_MS)) {
    const behind = (await api.list<VolumeView>('/v1/volumes')).find(isBehind);
    if (behind === undefined) return;
    if (performance.now() < deadline) continue;
    output.note(`Going on, though volume "${behind.name}" has a replica that is not rebuilt`);
    return;
  }
}
