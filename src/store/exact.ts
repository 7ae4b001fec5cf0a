import { BLOCK_BYTES } from '../model/block-target.ts';
import { EILSEQ, EIO, ENODATA, ErrnoError } from '../model/errno.ts';
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

/** What Linux answers for sectors that a drive cannot read: in general, a medium error, a failed protection check. */
const UNREADABLE_ERRNOS: ReadonlySet<number> = new Set([EIO, ENODATA, EILSEQ]);
const NONE: readonly number[] = [];

/**
 * Reads a range of whole blocks, of which the drive may be unable to read some: those come as zeros, and their indexes are returned.
 * For what exists twice, or has a checksum that tells; never for what would then look as if it had never been written.
 */
export async function readReadable(
  ioAsync: IoAsync,
  fd: number,
  positionBytes: number,
  range: Range & { readonly bytes: Uint8Array },
): Promise<readonly number[]> {
  const { address, lengthBytes, bytes } = range;
  try {
    await readExact(ioAsync, fd, positionBytes, range);
    return NONE;
  } catch (error) {
    if (!(error instanceof ErrnoError) || !UNREADABLE_ERRNOS.has(error.errno)) throw error;
  }
  if (lengthBytes === BLOCK_BYTES) {
    bytes.fill(0, address, address + BLOCK_BYTES);
    return [0];
  }
  const unreadable: number[] = [];
  for (let index = 0; index * BLOCK_BYTES < lengthBytes; index++) {
    const at = index * BLOCK_BYTES;
    const block = { address: address + at, lengthBytes: BLOCK_BYTES, bytes };
    const failed = await readReadable(ioAsync, fd, positionBytes + at, block);
    if (failed.length > 0) unreadable.push(index);
  }
  return unreadable;
}
