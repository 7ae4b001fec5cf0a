/**
 * Keeps a process that others' I/O depends on alive and unblocked when memory is short: its buffers are not swapped, it is not
 * killed first, and the kernel does not make it write back pages that wait for itself. What the kernel refuses
 * is one warning, never a failure.
 */

import fs from 'node:fs';

import { EACCES, ENOSYS, EPERM } from '../../model/errno.ts';
import type { Io } from '../io.ts';
import { errnoOf } from './errno-of.ts';
import { type Libc, openLibc } from './libc.ts';
import { openFfi } from '../ffi.ts';

/** -1000 would never be killed; this leaves the kernel a way out if we are the leak. */
const OOM_SCORE_ADJUST = -900;
const PAGE_BYTES = 4096;
/** What the runtime itself may lock besides the arena. */
const LOCK_MARGIN_BYTES = 16_777_216;

export type GuardOptions = {
  /** The Io whose arena is locked; without it no memory is. */
  readonly io?: Io;
  /** Of the arena: the part that must never wait for a page, `lengthBytes` from `address`. Locking makes it resident. */
  readonly locked?: { readonly address: number; readonly lengthBytes: number };
  /** True for a process that I/O of the same machine's file systems goes through. */
  readonly ioFlusher: boolean;
};

/** Applies what the kernel allows and returns a sentence for each thing that it refused. */
export function applyProcessGuards(options: GuardOptions): string[] {
  const warnings: string[] = [];
  adjustOomScore(warnings);
  let libc: Libc;
  try {
    libc = openLibc();
  } catch (error) {
    return [...warnings, `Memory is not locked: no C library calls (${String(error)})`];
  }
  const { io, locked, ioFlusher } = options;
  if (io !== undefined && locked !== undefined) lockArena(warnings, libc, { io, locked });
  if (ioFlusher) {
    const errno = libc.setIoFlusher();
    if (errno !== 0 && errno !== ENOSYS) {
      warnings.push(
        `The kernel may wait for this process while it reclaims memory for it: PR_SET_IO_FLUSHER ${why(errno)}`,
      );
    }
  }
  return warnings;
}

function adjustOomScore(warnings: string[]): void {
  try {
    fs.writeFileSync('/proc/self/oom_score_adj', String(OOM_SCORE_ADJUST));
  } catch (error) {
    warnings.push(
      `This process may be killed first when memory is short: oom_score_adj ${why(errnoOf(error))}`,
    );
  }
}

function lockArena(
  warnings: string[],
  libc: Libc,
  { io, locked }: Required<Pick<GuardOptions, 'io' | 'locked'>>,
): void {
  const start = Math.floor(locked.address / PAGE_BYTES) * PAGE_BYTES;
  const end = Math.min(locked.address + locked.lengthBytes, io.memory.buffer.byteLength);
  const address = openFfi().address(io.memory.buffer) + start;
  let errno = libc.lockMemory(address, end - start);
  if (errno !== 0) {
    libc.raiseLockedMemoryLimit(end - start + LOCK_MARGIN_BYTES);
    errno = libc.lockMemory(address, end - start);
  }
  if (errno === 0) return;
  const mib = Math.ceil((end - start) / 2 ** 20);
  warnings.push(`Buffers of ${mib} MiB may be swapped out: mlock ${why(errno)}`);
}

function why(errno: number): string {
  return errno === EPERM || errno === EACCES
    ? `is refused (errno ${errno}; needs root or the capability)`
    : `failed (errno ${errno})`;
}
