/**
 * Keeps a process that others' I/O depends on alive and unblocked when memory is short: its buffers are not swapped, it is not
 * killed first, and the kernel does not make it write back pages that wait for itself. What the kernel refuses
 * is one warning, never a failure.
 */

import fs from 'node:fs';

import { EACCES, ENOMEM, ENOSYS, EPERM } from '../../model/errno.ts';
import type { Io } from '../io.ts';
import { errnoOf } from './errno-of.ts';
import { type Libc, openLibc } from './libc.ts';

/** -1000 would never be killed; this leaves the kernel a way out if we are the leak. */
const OOM_SCORE_ADJUST = -900;

/** Applies what the kernel allows, to the arena of `io` too, and returns a sentence for each thing that it refused. */
export function applyProcessGuards(io: Io): string[] {
  const warnings: string[] = [];
  adjustOomScore(warnings);
  let libc: Libc;
  try {
    libc = openLibc();
  } catch (error) {
    return [...warnings, `Memory is not locked: no C library calls (${String(error)})`];
  }
  const tell = (errno: number, what: string): void => {
    if (errno !== 0 && errno !== ENOSYS) warnings.push(`${what} ${why(errno)}`);
  };
  tell(
    libc.lockOnFault(io.memory.buffer),
    'Buffers may be swapped out while I/O needs them: mlock2',
  );
  tell(
    libc.setIoFlusher(),
    'The kernel may wait for this process while it reclaims memory for it: PR_SET_IO_FLUSHER',
  );
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

function why(errno: number): string {
  if (errno === ENOMEM)
    return `is refused (errno ${errno}; more than ulimit -l lets this user lock)`;
  return errno === EPERM || errno === EACCES
    ? `is refused (errno ${errno}; needs root or the capability)`
    : `failed (errno ${errno})`;
}
