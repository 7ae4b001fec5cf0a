/** Makes the Env of a real machine: the best maker of Io that it allows, and says why if that is not io_uring. */

import { randomBytes, randomInt } from 'node:crypto';

import type { Clock, Env, Files, Random } from '../env.ts';
import type { Io, IoKind } from '../io.ts';
import { listenTcp, listenUnix } from '../uring/listen.ts';
import { openTestedUringIo } from '../uring/self-test.ts';
import { openBoot } from './boot.ts';
import { openBootClock } from './boot-clock.ts';
import { NodeFiles } from './node-files.ts';
import { NodeIo } from './node-io.ts';

export type EnvOptions = {
  /** `auto` takes io_uring where it works and Node's calls elsewhere; the others insist. */
  readonly io: 'auto' | 'io_uring' | 'node';
  /** Arena size; rounded up to 64 KiB. Untouched pages cost nothing. */
  readonly memoryBytes: number;
};

/** Which maker runs; `reason` says why it is not io_uring, for people. */
export type IoChoice = { readonly kind: IoKind; readonly reason?: string };

export type NodeEnv = Env & { readonly ioChoice: IoChoice };

/** Opens the Env. At most a few per process: arenas live as long as it. Throws only for `io_uring` where that is refused. */
export function openEnv(options: EnvOptions): NodeEnv {
  const { io, files, ioChoice } = openIo(options);
  return { clock, random, files, io, ioChoice, boot: openBoot() };
}

let bootMs: (() => number) | undefined;

const clock: Clock = {
  monotonicMs: () => performance.now(),
  bootMs: () => (bootMs ??= openBootClock())(),
  wallMs: () => Date.now(),
};

/** randomInt's own bound is 2^48 - 1. */
const random: Random = {
  below: (bound) => randomInt(bound),
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

type OpenedIo = { readonly io: Io; readonly files: Files; readonly ioChoice: IoChoice };

function openIo({ io: wanted, memoryBytes }: EnvOptions): OpenedIo {
  if (wanted === 'node') return openNodeIo(memoryBytes, 'asked for');
  try {
    const { io, system } = openTestedUringIo({ memoryBytes });
    const files = new NodeFiles({
      listen: async (path) => listenUnix(system, path),
      listenTcp: async (address) => listenTcp(system, address),
      onOpen: (fd, isFuse) => io.setBlocking(fd, isFuse),
    });
    return { io, files, ioChoice: { kind: 'io_uring' } };
  } catch (error) {
    if (wanted === 'io_uring') throw error;
    return openNodeIo(memoryBytes, error instanceof Error ? error.message : String(error));
  }
}

function openNodeIo(memoryBytes: number, reason: string): OpenedIo {
  const io = new NodeIo({ memoryBytes });
  const files = new NodeFiles(io);
  return { io, files, ioChoice: { kind: 'node', reason } };
}
