/** File descriptors that a process lacks: whatever it was to open, the way out is the same. */

import { EMFILE, ENFILE, errnoInWords } from './errno.ts';
import { Refusal } from './errors.ts';

/** The refusal for an error that means EMFILE or ENFILE; undefined for any other. `peer`: the process that lacks them. */
export function withoutDescriptors(error: unknown, peer: string): Refusal | undefined {
  // Node's own errors have it negative.
  const errno = error instanceof Error && 'errno' in error ? Math.abs(Number(error.errno)) : 0;
  return errno === EMFILE || errno === ENFILE
    ? new Refusal('DESCRIPTORS_EXHAUSTED', { peer, problem: errnoInWords(errno) })
    : undefined;
}
