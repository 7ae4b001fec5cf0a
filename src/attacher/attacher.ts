/**
 * The attacher: holds what the kernel's block devices hang on, and queues their I/O while the engine restarts. It does nothing
 * else, so that neither a crash nor an upgrade of engine or control fails a mounted file system.
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
import { type EnvOptions, type NodeEnv, openEnv } from '../env/node/open-env.ts';
import { applyProcessGuards } from '../env/node/process-guards.ts';
import { assert } from '../lib/assert.ts';
import type { Log } from '../model/log.ts';
import { Refusal } from '../model/errors.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { AttachSpec, AttachedDevice, DeviceKind } from './attached-device.ts';
import { parseAttach, parseDetach, parseResize } from './attacher-calls.ts';
import { Attachments } from './attachments.ts';
import { Berths } from './berths.ts';
import type { ClientState } from './client-state.ts';
import { FuseLoop } from './fuse-loop.ts';
import { FUSE_VOLUME_BYTES } from './fuse-volume.ts';
import { KernelNbd, hasKernelNbd } from './kernel-nbd.ts';
import { LineServer } from './line-server.ts';
import { type Made, MadeLog } from './made-log.ts';
import { identify } from './process-identity.ts';
import { sweepLeftovers } from './sweep.ts';

/** Volumes on FUSE at once. 64 of 9.3 MiB: 600 MiB of address space, of which only what is used becomes memory. */
const FUSE_VOLUME_COUNT_MAX = 64;
const BERTHS_AT = 4096;
/** Of the Node maker: threads that answer the kernel, and the one that attaches. */
const POOL_SPARE_COUNT = 16;

export type AttacherOptions = {
  /** The installation's run directory. */
  readonly runDir: string;
  readonly io: EnvOptions['io'];
  readonly version: string;
  readonly log: Log;
};

/** Runs the attacher until it is shut down. Resolves with the exit status. */
export async function runAttacher(options: AttacherOptions): Promise<number> {
  ignoreSignals();
  mkdirSync(options.runDir, { recursive: true, mode: 0o700 });
  const memoryBytes = BERTHS_AT + FUSE_VOLUME_COUNT_MAX * FUSE_VOLUME_BYTES;
  const env = openEnv({ io: options.io, memoryBytes });
  if (env.ioChoice.kind === 'node') widenPool();
  const calls = openKernelCalls();
  const made = new MadeLog(options.runDir);
  const warnings = guard(env, calls);
  for (const warning of warnings) options.log('process.guard', { warning });
  // What an attacher before left stands where this one makes the same, and nobody serves it.
  const { left } = await sweepLeftovers(options.runDir, { scope: 'attacher' });
  for (const { made: it, reason } of left) {
    warnings.push(`Left of a dead attacher: ${JSON.stringify(it)}: ${reason}`);
  }
  const attachments = openAttachments(env, { calls, made, options });

  const path = join(options.runDir, 'attacher.sock');
  const socket: Made = { kind: 'socket', path };
  made.record(socket);
  const shutdown = async (force: boolean): Promise<void> => {
    await attachments.detachAll({ force });
    // The answer to this very call goes out first.
    setImmediate(() => env.io.stop());
  };
  const server = await LineServer.listen(path, {
    peer: 'attacher',
    hello: () => ({ version: options.version, io: env.ioChoice, warnings }),
    onCall: (call, args) => onCall(attachments, { call, args, shutdown }),
  });
  process.on('SIGTERM', () => {
    shutdown(false).catch((error: unknown) => {
      options.log('attacher.not_ended', { error: String(error) });
    });
  });
  options.log('attacher.ready', { pid: process.pid, io: env.ioChoice });
  await env.io.run();
  await server.close();
  made.forget(socket);
  return 0;
}

async function onCall(
  attachments: Attachments,
  request: {
    readonly call: string;
    readonly args: JsonObject;
    readonly shutdown: (force: boolean) => Promise<void>;
  },
): Promise<JsonObject> {
  const { call, args } = request;
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
      await request.shutdown(args.force === true);
      return {};
    default:
      throw new Refusal('INPUT_INVALID', { problem: `the attacher has no call "${call}"` });
  }
}

type Parts = {
  readonly calls: KernelCalls;
  readonly made: MadeLog;
  readonly options: AttacherOptions;
};

function openAttachments(env: NodeEnv, { calls, made, options }: Parts): Attachments {
  const awaited = new IoAsync(env.io);
  const maker = identify(process.pid);
  assert(maker !== undefined, 'a process finds itself');
  const onState = (attachId: string, state: ClientState): void => {
    const { sinceMs: _, kind, ...details } = state;
    options.log(`attachment.${kind}`, { attachId, ...details });
  };
  const sleep = (delayMs: number): Promise<void> => awaited.sleep(delayMs);
  const fuse = {
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
    onState,
  };
  return new Attachments({
    kinds: usableKinds(),
    open: (kind: DeviceKind, spec: AttachSpec): Promise<AttachedDevice> =>
      kind === 'fuse-loop'
        ? FuseLoop.open(fuse, spec)
        : KernelNbd.open({ made, sleep, onState }, spec),
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

function guard(env: NodeEnv, calls: KernelCalls): string[] {
  const warnings = applyProcessGuards({ ioFlusher: true });
  const errno = calls.lockOnFault(env.io.memory.buffer);
  if (errno !== 0) warnings.push(`Buffers may be swapped out: mlock2 failed (errno ${errno})`);
  return warnings;
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
