/** holdfast up: starts an installation, with its first drive, and says when it is ready. */

import type { DriveView } from '../../control/drive-schemas.ts';
import type { StatusView } from '../../control/schemas.ts';
import { Supervisor } from '../../control/supervisor.ts';
import {
  type ApiAddress,
  keepApiAddress,
  parseApiAddress,
  readApiAddress,
} from '../../control/api-address.ts';
import {
  type Installation,
  isInstallation,
  makeDirectories,
  refuseForeign,
} from '../../control/installation.ts';
import { lockWritable } from '../../control/installation-lock.ts';
import { clusterFileOf, isCopied, localClusterOf } from '../../control/local-cluster.ts';
import { startLogRotation } from '../../control/log-rotation.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import { Refusal } from '../../model/errors.ts';
import { openLog } from '../../model/log.ts';
import { formatSize, parseSize } from '../../model/sizes.ts';
import type { Context } from '../context.ts';
import { colored } from '../output.ts';
import { FIRST_DRIVE_SIZE } from '../size-option.ts';
import { down } from './down.ts';
import { addDrive } from './drive.ts';
import { refuseDamaged } from './records.ts';
import { releaseAttached } from './release.ts';
import { isServed, startServices } from './services.ts';
import { LOCK_FD, ready, refuseIncomplete, startDetached } from './start.ts';
import { chooseStore } from './store.ts';
import { takeBack } from './uninstall.ts';

export type UpOptions = {
  /** How many nodes a cluster on this machine is to have. */
  readonly nodes?: string;
  readonly detach?: boolean;
  /** {@link FIRST_DRIVE_SIZE} without it. */
  readonly driveSize?: string;
  readonly sparse?: boolean;
  readonly listen?: string;
  /** A file with the settings of an etcd. */
  readonly store?: string;
  readonly supervise?: boolean;
};

/** Returns when it is ready, with `detach`; else when it has ended. */
export async function up(context: Context, options: UpOptions): Promise<void> {
  if (options.nodes !== undefined || context.cluster !== undefined) {
    const { upNodes } = await import('./up-nodes.ts');
    await upNodes(context, options);
    return;
  }
  const { installation, output } = context;
  const { listen } = options;
  parseSize(options.driveSize ?? FIRST_DRIVE_SIZE);
  const address = listen === undefined || listen === 'none' ? undefined : parseApiAddress(listen);
  refuseIncomplete();
  refuseForeign(installation.directory);
  refuseCopiedNode(installation.directory);
  const isNew = !isInstallation(installation.directory);
  const served = isServed(installation);
  const addressBefore = keptAddress(installation);
  try {
    if (options.store !== undefined) await chooseStore(installation, options.store);
    await refuseDamaged(installation);
    if (listen !== undefined) await keepAddress(installation, address);
    if (!served && options.detach !== true) {
      await upHere(context, options);
      return;
    }
    const view = await upReady(context, options, () =>
      served ? startServices({ isChanged: listen !== undefined }) : startDetached(context),
    );
    output.result(view, `Holdfast runs in "${installation.directory}" (I/O: ${view.io.kind})`);
  } catch (error) {
    if (listen !== undefined) await putAddressBack(context, addressBefore);
    if (isNew && !served) await takeBack(installation);
    throw error;
  }
}

/** The nodes of a copied cluster get identities of their own together. */
function refuseCopiedNode(directory: string): void {
  const cluster = localClusterOf(directory);
  if (cluster === undefined || !isCopied(cluster)) return;
  const problem = `it is a copy, and its nodes would be taken for the original's: holdfast up --data "${cluster.directory}" makes them nodes of their own`;
  throw new Refusal('CLUSTER_INVALID', { file: clusterFileOf(cluster.directory), problem });
}

/** Before anything runs. Throws INSTALLATION_RUNNING where something does. */
async function keepAddress(
  installation: Installation,
  address: ApiAddress | undefined,
): Promise<void> {
  makeDirectories(installation);
  const lock = await lockWritable(installation);
  try {
    keepApiAddress(installation, address);
  } finally {
    lock.release();
  }
}

/** The address before this start; one that cannot be read is not worth keeping. */
function keptAddress(installation: Installation): ApiAddress | undefined {
  try {
    return readApiAddress(installation);
  } catch {
    return undefined;
  }
}

/** A start that was refused leaves the address as it was; where something runs, it is that one's. */
async function putAddressBack(
  { installation, output }: Context,
  before: ApiAddress | undefined,
): Promise<void> {
  try {
    await keepAddress(installation, before);
  } catch (error) {
    if (error instanceof Refusal && error.code === 'INSTALLATION_RUNNING') return;
    // What is told in the end is why the start was refused.
    output.note(`The next start asks for the refused address again: ${String(error)}`);
  }
}

/** Has `start` start all and wait until it is ready, and leaves it running. Resolves with what an `up` answers. */
export async function upReady(
  context: Context,
  options: Pick<UpOptions, 'driveSize' | 'sparse' | 'listen'>,
  start: () => Promise<void>,
): Promise<UpView> {
  await start();
  const view = await firstView(context, options).catch(async (error: unknown) => {
    // Refused is not running: what was started for it ends again. Left running is.
    const isLeft = error instanceof Refusal && error.code === 'OPERATION_LEFT';
    if (!isLeft) await down(context);
    throw error;
  });
  for (const warning of view.warnings.filter((text) => text.startsWith('volume '))) {
    context.output.note(`${colored('yellow', 'Warning:')} ${warning}`);
  }
  return view;
}

/** {@link firstView}. */
export type UpView = StatusView & { readonly driveViews: DriveView[] };

/** What an `up` answers: the status, and the drives, of which it makes the first. */
export async function firstView(
  context: Context,
  options: Pick<UpOptions, 'driveSize' | 'sparse' | 'listen'>,
): Promise<UpView> {
  const driveViews = await firstDrive(context, options);
  const status = await context.api.get<StatusView>('/v1/status');
  const isWanted = options.listen !== undefined && options.listen !== 'none';
  if (isWanted && status.sockets['tcp'] === undefined) {
    const problem = status.warnings.find((warning) => warning.includes('TCP')) ?? 'no API on TCP';
    throw new Refusal('INSTALLATION_START', { problem });
  }
  // It runs, but the volumes on such a drive cannot be had.
  for (const { name, path: at, state, reason } of status.drives) {
    if (state !== 'open')
      context.output.note(`Warning: drive "${name}" is ${state}: ${reason ?? at}`);
  }
  return { ...status, driveViews };
}

/** Makes the first drive where there is none; resolves with the drives. */
async function firstDrive(
  context: Context,
  options: Pick<UpOptions, 'driveSize' | 'sparse'>,
): Promise<DriveView[]> {
  const node = readNode(context.installation.directory)?.node ?? null;
  const all = await context.api.get<DriveView[]>('/v1/drives');
  const drives = all.filter((drive) => drive.node === node);
  const [first] = drives;
  if (first !== undefined) {
    tellOtherSize(context, options, first);
    return drives;
  }
  const size = options.driveSize ?? FIRST_DRIVE_SIZE;
  context.output.note(`Making a file drive of ${formatSize(parseSize(size))}`);
  // Names are the cluster's.
  const name = node === null ? 'default' : `default-${node}`;
  const wish = { name, size, sparse: options.sparse === true };
  const view = await addDrive(context, wish);
  if (view.warning !== null) context.output.note(`Warning: ${view.warning}`);
  return [view];
}

/** `--drive-size` makes a first drive, and leaves one that is there as it is. */
function tellOtherSize(
  { output }: Context,
  { driveSize }: Pick<UpOptions, 'driveSize'>,
  { name, sizeBytes }: DriveView,
): void {
  if (driveSize === undefined || sizeBytes === null) return;
  if (Math.abs(parseSize(driveSize) - sizeBytes) < BLOCK_BYTES) return;
  output.note(
    `Warning: --drive-size ${driveSize} is for a first drive, and drive "${name}" of ${formatSize(sizeBytes)} is there already: holdfast drive add makes another`,
  );
}

/** A terminal signals the whole group, and a program between may pass the signal on: both are one Ctrl-C. */
const SAME_SIGNAL_MS = 500;

/**
 * Resolves at the first Ctrl-C, SIGTERM, or hangup of the terminal. At a second one `kill` ends all at once: what was acknowledged is
 * safe, and mounts are swept at the next start.
 */
export function askedToEnd(kill: () => void): Promise<void> {
  let askedAtMs: number | undefined;
  return new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        const now = performance.now();
        if (askedAtMs === undefined) {
          askedAtMs = now;
          resolve();
        } else if (now - askedAtMs > SAME_SIGNAL_MS) {
          kill();
          process.exit(1);
        }
      });
    }
  });
}

/** Runs the supervisor in this process until it is asked to end. */
async function upHere(context: Context, options: UpOptions): Promise<void> {
  const { installation, output } = context;
  // Neither a reader of our output that goes away nor a full disk below our log is a reason to end what serves volumes.
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error').on('error', () => undefined);
  }
  const log = openLog('supervisor', {
    wallMs: () => Date.now(),
    write: (line) => process.stderr.write(line),
    isTerminal: process.stderr.isTTY,
  });
  makeDirectories(installation);
  const lock = await lockWritable(installation, options.supervise === true ? LOCK_FD : undefined);
  const supervisor = new Supervisor(installation, lock, log);
  let asked = false;
  // Before it starts anything: a signal that ended it half-way would leave that running.
  const ended = askedToEnd(() => supervisor.kill()).then(() => {
    asked = true;
  });
  await supervisor.start();
  startLogRotation(installation.logDirectory);
  if (options.supervise !== true) {
    try {
      await Promise.race([ended, ready(context, () => undefined, process.pid, true)]);
      const view = await Promise.race([ended, firstView(context, options)]);
      // People are told on standard error, which is no answer: it has not ended.
      if (!asked && output.kind === 'json') output.result(view, '');
    } catch (error) {
      // Refused is not running, but for an end that was asked for meanwhile, which goes its way below.
      if (!asked) {
        await supervisor.stop();
        throw error;
      }
    }
    if (!asked) output.note(`Holdfast runs in "${installation.directory}". Ctrl-C ends it.`);
  }
  await ended;
  output.note('Ending: unmounting, then the processes in order. Ctrl-C again ends at once.');
  const problems = await releaseAttached(context).catch((error: unknown) => [String(error)]);
  for (const problem of problems) process.stderr.write(`Not released: ${problem}\n`);
  await supervisor.stop();
  process.exit(0);
}
