/** Zeros over large ranges of a drive, as fast as it takes them. */

import type { IoAsync, Range } from '../env/io-async.ts';

/** One request at a time leaves a disk idle for half the time; more than this would only keep the reads of others waiting. */
const IN_FLIGHT_BYTES = 8 * 1024 * 1024;

export type ZeroWork = {
  readonly ioAsync: Pick<IoAsync, 'write'>;
  readonly fd: number;
  /** A range of the arena that holds zeros, and does until the call has settled: the memory that is written, again and again. */
  readonly zeros: Range;
  /** Called after each write with the bytes written by it. What it throws ends the work. */
  readonly onWritten: (bytes: number) => void;
};

/**
 * Writes zeros from byte `from` to byte `to` of the drive. The first failure ends it and is thrown, when nothing is in flight any more.
 */
export async function writeZeros(
  { ioAsync, fd, zeros, onWritten }: ZeroWork,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<void> {
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < to) {
      const at = next;
      const lengthBytes = Math.min(zeros.lengthBytes, to - at);
      next += lengthBytes;
      try {
        await ioAsync.write(fd, at, { address: zeros.address, lengthBytes });
        onWritten(lengthBytes);
      } catch (error) {
        next = to;
        throw error;
      }
    }
  };
  const workers = Array.from({ length: IN_FLIGHT_BYTES / zeros.lengthBytes }, worker);
  // All of them, since what is in flight must not outlive its file.
  const ends = await Promise.allSettled(workers);
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
}
