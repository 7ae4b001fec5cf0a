/**
 * The attacher: holds what the kernel's block devices hang on, and queues their I/O while the engine restarts. It does nothing
 * else, so that neither a crash nor an upgrade of engine or control fails a mounted file system. At an upgrade of its own it hands
 * its devices over to a successor (handover.ts).
 *
 * Nothing that I/O waits for touches a file system: the log goes to standard error, and a line is written only when something
 * was attached, detached, or changed its state.
 */

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

import { IoAsync } from '../env/io-async.ts';
import { type KernelCalls, openKernelCalls } from '../env/linux/kernel-calls.ts';
import { LoopDevices } from '../env/linux/loop-device.ts';
import { tellServiceManager } from '../env/linux/service-notice.ts';
import { type EnvOptions, type NodeEnv, openEnv } from '../env/node/open-env.ts';
import { applyProcessGuards } from '../env/node/process-guards.ts';
import { assert } from '../lib/assert.ts';
import type { Log } from '../model/log.ts';
import { Refusal } from '../model/errors.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { AttachSpec, AttachedDevice, DeviceKind, InheritedDevice } from './attached-device.ts';
import {
  type HandoverWish,
  parseAttach,
  parseDetach,
  parseHandover,
  parseResize,
} from './attacher-calls.ts';
import { Attachments } from './attachments.ts';
import { Berths } from './berths.ts';
import type { ClientState } from './client-state.ts';
import { FuseLoop, type FuseLoopParts } from './fuse-loop.ts';
import { FUSE_VOLUME_BYTES } from './fuse-volume.ts';
import { handOver } from './handover.ts';
import { KernelNbd, hasKernelNbd } from './kernel-nbd.ts';
import { LineServer, type LineServerOptions } from './line-server.ts';
import { type Made, MadeLog } from './made-log.ts';
import { Predecessor } from './predecessor.ts';
import { identify } from './process-identity.ts';
import { sweepLeftovers } from './sweep.ts';

/** Volumes on FUSE at once. 128 of 9.3 MiB: 1.2 GiB of address space, of which only what is used becomes memory. */
const FUSE_VOLUME_COUNT_MAX = 128;
const BERTHS_AT = 4096;
/** Of the Node maker: threads that answer the kernel, and the one that attaches. */
const POOL_SPARE_COUNT = 16;
/** How often an attacher that is to end looks whether its devices are in use still. */
const UNUSED_LOOK_MS = 500;
/** Of a successor that serves nothing: the attacher before does, or is dead. */
const EXIT_NOT_TAKEN_OVER = 1;

export type AttacherOptions = {
  /** The installation's run directory. */
  readonly runDir: string;
  readonly io: EnvOptions['io'];
  readonly version: string;
  readonly log: Log;
  /** The command line of a successor, behind Node and the program. */
  readonly successorWords: readonly string[];
  /** This process is a successor, and has inherited what handover.ts says. */
  readonly takesOver: boolean;
};

/** Runs the attacher until it is shut down or has handed its devices over. Resolves with the exit status. */
export async function runAttacher(options: AttacherOptions): Promise<number> {
  ignoreSignals();
  mkdirSync(options.runDir, { recursive: true, mode: 0o700 });
  const memoryBytes = BERTHS_AT + FUSE_VOLUME_COUNT_MAX * FUSE_VOLUME_BYTES;
  const env = openEnv({ io: options.io, memoryBytes });
  if (env.ioChoice.kind === 'node') widenPool();
  const calls = openKernelCalls();
  const warnings = applyProcessGuards(env.io);
  for (const warning of warnings) options.log('process.guard', { warning });
  const made = new MadeLog(options.runDir);
  const awaited = new IoAsync(env.io);
  const sleep = (delayMs: number): Promise<void> => awaited.sleep(delayMs);
  const parts: Parts = { env, calls, made, options, warnings, sleep };
  const running = env.io.run();
  const serving = options.takesOver ? await succeed(parts) : await start(parts);
  if (serving === undefined) return EXIT_NOT_TAKEN_OVER;
  const { attachments, server } = serving;
  let ending: Promise<void> | undefined;
  process.on('SIGTERM', () => (ending ??= endWhenUnused(parts, attachments)));
  tellServiceManager('READY=1');
  options.log('attacher.ready', { pid: process.pid, io: env.ioChoice });
  await running;
  // The socket is the successor's then.
  if (attachments.handedOver) return 0;
  await server.close();
  made.forget(socketOf(options));
  return 0;
}

type Parts = {
  readonly env: NodeEnv;
  readonly calls: KernelCalls;
  readonly made: MadeLog;
  readonly options: AttacherOptions;
  /** For `hello`. */
  readonly warnings: string[];
  readonly sleep: (delayMs: number) => Promise<void>;
};

type Serving = { readonly attachments: Attachments; readonly server: LineServer };

async function start(parts: Parts): Promise<Serving> {
  const { made, options } = parts;
  // What an attacher before left stands where this one makes the same, and nobody serves it.
  const { left } = await sweepLeftovers(options.runDir, { scope: 'attacher' });
  for (const { made: it, reason } of left) {
    parts.warnings.push(`Left of a dead attacher: ${JSON.stringify(it)}: ${reason}`);
  }
  const attachments = openAttachments(parts, []);
  const socket = socketOf(options);
  made.record(socket);
  const server = await LineServer.listen(socket.path, answering(parts, attachments));
  return { attachments, server };
}

/** Makes all ready while the attacher before serves, and goes on where that one stops. Undefined where this process does not. */
async function succeed(parts: Parts): Promise<Serving | undefined> {
  const before = await Predecessor.meet(parts.env.io.kind);
  if (before === undefined) return undefined;
  const { path } = socketOf(parts.options);
  try {
    const attachments = openAttachments(parts, before.devices);
    const devices = attachments.devices();
    const server = await LineServer.listenBeside(path, answering(parts, attachments));
    for (const { handover } of devices) handover.record();
    // Without its word, what it had read of the kernel is lost with it: the devices must end with us, or their I/O waits for ever.
    if (!(await before.ready())) return undefined;
    for (const { handover } of devices) handover.serve();
    // Before the end of the attacher before is seen: the service goes on with this process.
    tellServiceManager(`MAINPID=${process.pid}`);
    server.takePlace(path);
    before.serving();
    return { attachments, server };
  } catch (error) {
    before.refuse(error);
    return undefined;
  }
}

function socketOf({ runDir }: AttacherOptions): Extract<Made, { kind: 'socket' }> {
  return { kind: 'socket', path: join(runDir, 'attacher.sock') };
}

async function shutdown(parts: Parts, attachments: Attachments, force: boolean): Promise<void> {
  await attachments.detachAll({ force });
  end(parts);
}

/** A device that somebody uses is waited for: whoever wants this process gone sooner kills it. */
async function endWhenUnused(parts: Parts, attachments: Attachments): Promise<void> {
  for (let said = ''; ; await parts.sleep(UNUSED_LOOK_MS)) {
    try {
      await shutdown(parts, attachments, false);
      return;
    } catch (error) {
      if (said !== String(error)) parts.options.log('attacher.not_ended', { error: String(error) });
      said = String(error);
    }
  }
}

function end({ env }: Parts): void {
  // The answer to the call that asked for it goes out first.
  setImmediate(() => env.io.stop());
}

function answering(parts: Parts, attachments: Attachments): LineServerOptions {
  const { env, options, warnings } = parts;
  return {
    peer: 'attacher',
    hello: () => ({ version: options.version, io: env.ioChoice, warnings }),
    onCall: (call, args) => onCall(parts, attachments, { call, args }),
  };
}

async function onCall(
  parts: Parts,
  attachments: Attachments,
  { call, args }: { readonly call: string; readonly args: JsonObject },
): Promise<JsonObject> {
  switch (call) {
    case 'attach': {
      const { spec, kind } = parseAttach(args);
      return attachments.attach(spec, kind);
    }
    case 'detach': {
      const { attachId, force } = parseDetach(args);
      await attachments.detach(attachId, { force });
      return {};
    }
    case 'resize': {
      const { attachId, sizeBytes } = parseResize(args);
      return attachments.resize(attachId, sizeBytes);
    }
    case 'list':
      return { devices: attachments.list() };
    case 'shutdown':
      await shutdown(parts, attachments, args.force === true);
      return {};
    case 'handover':
      await handOverTo(parts, attachments, parseHandover(args));
      return {};
    default:
      throw new Refusal('INPUT_INVALID', { problem: `the attacher has no call "${call}"` });
  }
}

async function handOverTo(
  parts: Parts,
  attachments: Attachments,
  { pid, node, main }: HandoverWish,
): Promise<void> {
  // Asked again, of the successor: it is done.
  if (pid !== process.pid) return;
  const { env, options, sleep } = parts;
  await attachments.handOver((devices) =>
    handOver({
      devices,
      state: { version: options.version, io: env.io.kind },
      command: [node, ...process.execArgv, main, ...options.successorWords],
      sleep,
    }),
  );
  options.log('attacher.handed_over', { program: main });
  end(parts);
}

function onState({ options }: Parts): (attachId: string, state: ClientState) => void {
  return (attachId, state) => {
    const { sinceMs: _, kind, ...details } = state;
    options.log(`attachment.${kind}`, { attachId, ...details });
  };
}

function fuseParts(parts: Parts): FuseLoopParts {
  const { env, calls, made, options, sleep } = parts;
  const maker = identify(process.pid);
  assert(maker !== undefined, 'a process finds itself');
  return {
    calls,
    loops: new LoopDevices(calls),
    berths: new Berths(env.io, {
      firstAddress: BERTHS_AT,
      berthBytes: FUSE_VOLUME_BYTES,
      count: FUSE_VOLUME_COUNT_MAX,
    }),
    made,
    maker,
    fuseDir: join(options.runDir, 'fuse'),
    sleep,
    onState: onState(parts),
  };
}

function openAttachments(parts: Parts, inherited: readonly InheritedDevice[]): Attachments {
  const { made, sleep } = parts;
  const fuse = fuseParts(parts);
  const nbd = { made, sleep, onState: onState(parts) };
  return new Attachments({
    kinds: usableKinds(),
    inherited: inherited.map((device) =>
      device.kind === 'fuse-loop'
        ? FuseLoop.takeOver(fuse, device)
        : KernelNbd.takeOver(nbd, device),
    ),
    open: (kind: DeviceKind, spec: AttachSpec, ending: AbortSignal): Promise<AttachedDevice> =>
      kind === 'fuse-loop' ? FuseLoop.open(fuse, spec, ending) : KernelNbd.open(nbd, spec),
  });
}

/** Kinds of devices that this machine and user can have, best first. */
export function usableKinds(): DeviceKind[] {
  if (process.getuid?.() !== 0) return [];
  const kinds: DeviceKind[] = [];
  if (hasKernelNbd()) kinds.push('kernel-nbd');
  if (existsSync('/dev/fuse') && existsSync('/dev/loop-control')) kinds.push('fuse-loop');
  return kinds;
}

/**
 * The Node maker keeps a thread waiting for each volume on FUSE, and attaching needs some more. The pool looks at this when it
 * is first used, so nothing before this call may be asynchronous.
 */
function widenPool(): void {
  process.env.UV_THREADPOOL_SIZE = String(FUSE_VOLUME_COUNT_MAX + POOL_SPARE_COUNT);
}

/** A Ctrl-C reaches every process of the terminal's group; whoever started this one ends it in order. */
function ignoreSignals(): void {
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
}
