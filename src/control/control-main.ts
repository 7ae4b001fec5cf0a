/** The control process: `main.ts control --data DIR`. Cluster store, use cases, REST on api.sock. SIGTERM ends it in order. */

import { randomBytes, randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { tellServiceManager } from '../env/linux/service-notice.ts';
import { openBootClock } from '../env/node/boot-clock.ts';
import { readBootId } from '../env/node/boot-id.ts';
import { type ClusterNode, readNode } from '../env/node/node-identity.ts';
import { packageVersion } from '../env/node/package-version.ts';
import { ProcessWatch, everySecond } from '../env/node/process-watch.ts';
import { MadeLog } from '../attacher/made-log.ts';
import { type Log, openLog } from '../model/log.ts';
import { Turnstile } from '../lib/turnstile.ts';
import type { ClusterStore } from '../metadata/cluster-store.ts';
import type { EtcdStore } from '../metadata/etcd-store.ts';
import type { SqliteStore } from '../metadata/sqlite-store.ts';
import { Cluster } from './cluster/cluster.ts';
import { ReplicaChanges } from './cluster/replica-changes.ts';
import { OwnMembers } from './cluster/own-members.ts';
import { JoinTokens } from './cluster/join-tokens.ts';
import { NodeRegistry } from './cluster/node-registry.ts';
import { PLUGIN_DIRECTORY, VolumePlugins } from './docker/plugins.ts';
import { Drives } from './drives.ts';
import { type Installation, installationAt, makeDirectories } from './installation.ts';
import { Explainer } from './explainer.ts';
import { HealthKeeper } from './health-keeper.ts';
import { LineClient } from './line-client.ts';
import { dropEarlierHolders } from './mount-holders.ts';
import { Metrics } from './metrics.ts';
import { etcdSettingsOf, openStore } from './open-store.ts';
import type { ControlParts } from './parts.ts';
import { ProgressBoard } from './progress.ts';
import { PurgeClock } from './purge-clock.ts';
import { Reconciler } from './reconciler.ts';
import { RecordsStore } from './records-store.ts';
import { openRest } from './rest.ts';
import { changeSettings } from './settings.ts';
import { SpaceKeeper } from './space.ts';
import { refuseLost } from './lost-records.ts';
import { isNamed, openWhenReady } from './start-wait.ts';
import { StatusReader } from './status.ts';
import { Trash } from './trash.ts';
import { UsageKeeper } from './usage.ts';
import { TcpApi } from './tcp-api.ts';
import { Volumes } from './volumes.ts';

/** systemd gives a start so much more time for as long as that goes on: file systems are checked in it. */
const START_EXTENSION_MS = 120_000;

/** Runs control until it is told to end. Returns the exit status. */
export async function controlMain(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { data: { type: 'string' } } });
  const log = openLog('control', {
    wallMs: () => Date.now(),
    write: (line) => process.stderr.write(line),
    isTerminal: process.stderr.isTTY,
  });
  if (values.data === undefined) {
    log('process.usage', { error: '--data DIR is needed' });
    return 2;
  }
  const installation = installationAt(values.data);
  makeDirectories(installation);
  try {
    return await run(installation, log);
  } catch (error) {
    if (!isNamed(error)) throw error;
    log('control.refused', { code: error.code, problem: error.message });
    return 1;
  }
}

async function run(installation: Installation, log: Log): Promise<number> {
  const store = await storeOf(installation, log);
  const identity = readNode(installation.directory);
  const parts: ControlParts = {
    ...partsOf(installation, store, identity?.node),
    log,
    askReconcile: () => reconciler.soon(),
  };
  const drives = new Drives(parts);
  const cluster = identity && new Cluster(parts, identity, ownMembers(parts, identity, store));
  const volumes = new Volumes(parts, drives, cluster);
  const trash = new Trash(parts, volumes.dataOf);
  const reconciler = new Reconciler(parts, { drives, volumes, trash, sleep });
  const space = new SpaceKeeper(parts, { drives, volumes, trash, clock: purgeClock(parts) });
  // Tests have a folder of their own.
  const directory = process.env['HOLDFAST_PLUGIN_DIR'] ?? PLUGIN_DIRECTORY;
  const plugins = new VolumePlugins(parts, { volumes, directory });
  const usage = new UsageKeeper(parts, (ids) => volumes.engineStatus(ids));
  const watch = new ProcessWatch(everySecond);
  const health = new HealthKeeper(parts);
  const tcp = new TcpApi({ installation, log });
  const status = new StatusReader(parts, { version: packageVersion(), tcp });
  const rest = await openRest({
    version: packageVersion(),
    records: parts.records,
    progress: parts.progress,
    drives,
    volumes,
    trash,
    replicaChanges: new ReplicaChanges(parts, cluster?.nodes),
    scrubs: cluster?.scrubs,
    nodes: new NodeRegistry(parts, cluster?.nodes, cluster?.members),
    joinTokens: new JoinTokens(parts, identity),
    plugins,
    metrics: new Metrics(parts, { version: packageVersion(), watch }),
    explainer: new Explainer(parts, { volumes, usage }),
    wallMs: parts.wallMs,
    status: () => status.read(),
    changeSettings: (changed) => changeSettings(parts, changed),
    release: () => reconciler.release(),
    tcp: { installation, log },
  });
  parts.attacher.onReconnect = () => void reconciler.run();
  if (cluster !== undefined) parts.engine.onReconnect = () => void cluster.onEngine();
  const ended = askedToEnd();
  await dropEarlierHolders(parts);
  await listen(rest, installation);
  await tcp.start(rest);
  await plugins.start();
  log('control.ready', { pid: process.pid });
  await cluster?.start();
  await settle(reconciler);
  status.settled = true;
  tellServiceManager('READY=1');
  const keepers = [space, usage, health];
  for (const keeper of keepers) keeper.start();
  await ended;
  reconciler.stop();
  await plugins.close();
  await rest.close();
  tcp.stop();
  for (const keeper of keepers) await keeper.stop();
  await cluster?.stop();
  parts.engine.close();
  parts.attacher.close();
  parts.records.close();
  await store.close();
  log('control.ended');
  return 0;
}

/** Brings to its end what was wanted before this start, however long that takes. */
async function settle(reconciler: Reconciler): Promise<void> {
  const extension = setInterval(() => {
    tellServiceManager(`EXTEND_TIMEOUT_USEC=${START_EXTENSION_MS * 1000}`);
  }, START_EXTENSION_MS / 4);
  await reconciler.run();
  clearInterval(extension);
}

/** By CLOCK_BOOTTIME beside the wall clock. */
function purgeClock({ installation, bootId, wallMs }: ControlParts): PurgeClock {
  const file = path.join(installation.runDirectory, 'purge-clock.json');
  return new PurgeClock({ file, bootId, wallMs, bootMs: openBootClock() });
}

function storeOf(
  { directory, runDirectory }: Installation,
  log: Log,
): Promise<SqliteStore | EtcdStore> {
  const open = async (): Promise<SqliteStore | EtcdStore> => {
    refuseLost(directory);
    return await openStore(directory);
  };
  return openWhenReady(open, { runDirectory, log, sleep });
}

/** Undefined where the records are in SQLite, or in an etcd that is not the cluster's own. */
function ownMembers(
  parts: ControlParts,
  identity: ClusterNode,
  store: SqliteStore | EtcdStore,
): OwnMembers | undefined {
  const isOwn = etcdSettingsOf(parts.installation.directory)?.followsMembers === true;
  if (!isOwn || !('members' in store)) return undefined;
  return new OwnMembers(parts, { identity, members: store.members });
}

function askedToEnd(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
}

/** On its socket, for its owner alone. */
async function listen(
  rest: Awaited<ReturnType<typeof openRest>>,
  { apiSocket }: Installation,
): Promise<void> {
  fs.rmSync(apiSocket, { force: true });
  const mask = process.umask(0o177);
  await rest.listen({ path: apiSocket });
  process.umask(mask);
}

function partsOf(
  installation: Installation,
  store: ClusterStore,
  node: string | undefined,
): Omit<ControlParts, 'log' | 'askReconcile'> {
  return {
    installation,
    records: new RecordsStore(store, installation.directory, node),
    node,
    engine: new LineClient(installation.engineSocket, 'ENGINE_UNREACHABLE'),
    attacher: new LineClient(installation.attacherSocket, 'ATTACHER_UNREACHABLE'),
    made: new MadeLog(installation.runDirectory),
    turnstile: new Turnstile(),
    wallMs: () => Date.now(),
    bootId: readBootId(),
    newId: () => randomUUID(),
    newAttachId: () => randomBytes(16).toString('hex'),
    onStep: killPoint(),
    progress: new ProgressBoard(),
  };
}

/**
 * For tests of crashes: HOLDFAST_TEST_KILL=N ends the process by SIGKILL at its Nth step, as a crash there would. A path in N's place is
 * of a file that holds N; steps count from when it last changed. Without the variable nothing happens.
 */
function killPoint(): (step: string) => void {
  const wish = process.env['HOLDFAST_TEST_KILL'];
  if (wish === undefined) return () => undefined;
  let at = '';
  let steps = 0;
  return () => {
    const now = wish.startsWith('/') ? fs.readFileSync(wish, 'utf8') : wish;
    if (now !== at) [at, steps] = [now, 0];
    steps++;
    if (steps === Number(at)) process.kill(process.pid, 'SIGKILL');
  };
}
