/** holdfast up --nodes N: starts a cluster on this machine, whose nodes are installations of their own (control/local-cluster.ts). */

import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  type Installation,
  installationAt,
  isInstallation,
  refuseForeign,
} from '../../control/installation.ts';
import { lockWritable } from '../../control/installation-lock.ts';
import { type LocalCluster, readLocalCluster } from '../../control/local-cluster.ts';
import { LOCAL_NODES_MAX, makeLocalNodes } from '../../control/local-nodes.ts';
import { makeDirectory } from '../../env/node/make-directory.ts';
import { Refusal } from '../../model/errors.ts';
import { parseSize } from '../../model/sizes.ts';
import { type Context, nodesOf, onNode } from '../context.ts';
import { table } from '../output.ts';
import { FIRST_DRIVE_SIZE } from '../size-option.ts';
import { endSupervisor } from './down.ts';
import { killNode, livingSupervisor, nodeNameOf, releaseNodes } from './nodes.ts';
import { refuseDamaged } from './records.ts';
import { ready, refuseIncomplete, startDetached } from './start.ts';
import { takeBackCluster } from './uninstall.ts';
import { type UpOptions, type UpView, askedToEnd, firstView, upReady } from './up.ts';

const LOOK_MS = 500;

/** What an `up` of several nodes answers. */
type NodesView = {
  readonly cluster: string;
  readonly dataDir: string;
  readonly nodes: readonly (UpView & { readonly node: string })[];
};

/** Starts the nodes that do not run, and makes those that are not there; in the foreground it ends all when it is asked to. */
export async function upNodes(context: Context, options: UpOptions): Promise<void> {
  const { output } = context;
  const directory = context.cluster?.directory ?? context.installation.directory;
  if (options.detach === true) {
    const view = await start(context, options);
    output.result(view, inWords(view));
    return;
  }
  const nodes = (): readonly Installation[] => nodesOf(readLocalCluster(directory) ?? NONE);
  const asked = askedToEnd(() => nodes().forEach(killNode));
  const view = await start(context, options);
  if (output.kind === 'json') output.result(view, '');
  else output.note(`${inWords(view)}\nCtrl-C ends them.`);
  await Promise.race([asked, ended(context, nodes())]);
  output.note('Ending: unmounting on all nodes, then their processes. Ctrl-C again ends at once.');
  await end(nodes().map((installation) => onNode(context, installation)));
  process.exit(0);
}

/** In order, also where a mount is in use, as the end of a single machine in the foreground. */
async function end(nodes: readonly Context[]): Promise<void> {
  for (const problem of await releaseNodes(nodes).catch(() => [])) {
    process.stderr.write(`Not released: ${problem}\n`);
  }
  const ends = nodes.map(async ({ installation }) => {
    const supervisor = livingSupervisor(installation);
    if (supervisor !== undefined) await endSupervisor(supervisor, installation);
  });
  await Promise.all(ends);
}

const NONE = { directory: '', nodes: [] };

function inWords({ dataDir, nodes }: NodesView): string {
  const rows = nodes.map(({ node, io, driveViews, dataDir: at }) => {
    const drives = driveViews.map(({ name, state }) => `${name} (${state})`).join(', ');
    return [node, io.kind, drives, at];
  });
  const head = `Holdfast runs in "${dataDir}", with ${nodes.length} nodes`;
  return `${head}\n\n${table(['NODE', 'I/O', 'DRIVES', 'DATA'], rows)}`;
}

/** Makes what is missing, and starts what does not run. What this start has made or begun ends with it where one node is refused. */
async function start(context: Context, options: UpOptions): Promise<NodesView> {
  const directory = context.cluster?.directory ?? context.installation.directory;
  parseSize(options.driveSize ?? FIRST_DRIVE_SIZE);
  refuseIncomplete();
  const count = countOf(context, options);
  const { cluster, isNew } = await makeNodes(context, directory, count);
  try {
    const contexts = nodesOf(cluster).map((installation) => onNode(context, installation));
    for (const { installation } of contexts) await refuseDamaged(installation);
    const started = await Promise.allSettled(contexts.map((node) => startNode(node, options)));
    const views = started.map((each) => {
      if (each.status === 'rejected') throw each.reason;
      return each.value;
    });
    return { cluster: cluster.id, dataDir: directory, nodes: views };
  } catch (error) {
    if (isNew) await takeBackCluster(context, cluster);
    throw error;
  }
}

function countOf({ cluster }: Context, { nodes, listen, store }: UpOptions): number {
  const refused = (problem: string): Refusal => new Refusal('INPUT_INVALID', { problem });
  if (listen !== undefined || store !== undefined) {
    throw refused('--listen and --store are for one node: --data DIR/nodes/NAME names it');
  }
  const count = nodes === undefined ? (cluster?.nodes.length ?? 0) : Number(nodes);
  if (!Number.isInteger(count) || count < 1 || count > LOCAL_NODES_MAX) {
    throw refused(`--nodes is a number from 1 to ${LOCAL_NODES_MAX}, not "${nodes}"`);
  }
  return count;
}

/** One at a time: two would give the same names and ports, and one that fails would take back what the other has made. */
async function makeNodes(
  { cluster }: Context,
  directory: string,
  count: number,
): Promise<{ readonly cluster: LocalCluster; readonly isNew: boolean }> {
  if (cluster === undefined && isInstallation(directory)) {
    const problem =
      'a single machine is in it, and it stays one. Give the nodes another directory (--data DIR)';
    throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
  }
  if (cluster === undefined) refuseForeign(directory);
  makeDirectory(directory, 0o700);
  const lock = await lockWritable(installationAt(directory));
  try {
    const isNew = readLocalCluster(directory) === undefined;
    return { cluster: await makeLocalNodes(directory, count), isNew };
  } finally {
    lock.release();
  }
}

/** Starts a node that does not run; waits for one that does. */
async function startNode(
  context: Context,
  options: UpOptions,
): Promise<UpView & { readonly node: string }> {
  const { installation } = context;
  const node = nodeNameOf(installation);
  const supervisor = livingSupervisor(installation);
  if (supervisor === undefined) {
    return { ...(await upReady(context, options, () => startDetached(context))), node };
  }
  await ready(context, () => undefined, supervisor.pid);
  return { ...(await firstView(context, options)), node };
}

/** Resolves when no node runs any more. Says meanwhile which one ends, and which is back. */
async function ended({ output }: Context, nodes: readonly Installation[]): Promise<void> {
  const running = new Set(nodes);
  while (running.size > 0) {
    await sleep(LOOK_MS);
    for (const installation of nodes) {
      const isRunning = livingSupervisor(installation) !== undefined;
      if (isRunning === running.has(installation)) continue;
      const name = nodeNameOf(installation);
      if (isRunning) running.add(installation);
      else running.delete(installation);
      output.note(
        isRunning
          ? `Node ${name} runs again`
          : `Node ${name} no longer runs. It starts again with: holdfast up --detach --data ${installation.directory}`,
      );
    }
  }
}
