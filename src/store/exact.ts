import { EIO, ErrnoError } from '../model/errno.ts';
import { IoAsync, type Range } from '../env/io-async.ts';
import type { Io } from '../env/io.ts';

const known = new WeakMap<Io, IoAsync>();

/** The one IoAsync of an Io: each takes a port, and ports are few. */
export function ioAsyncOf(io: Io): IoAsync {
  let ioAsync = known.get(io);
  if (ioAsync === undefined) {
    ioAsync = new IoAsync(io);
    known.set(io, ioAsync);
  }
  return ioAsync;
}

/** Reads exactly the range; a drive that ends before it is an I/O error. */
export async function readExact(
  ioAsync: IoAsync,
  fd: number,
  positionBytes: number,
  range: Range,
): Promise<void> {
  const count = await ioAsync.read(fd, positionBytes, range);
  if (count !== range.lengthBytes) throw new ErrnoError({ errno: EIO, syscall: 'read' });
}
