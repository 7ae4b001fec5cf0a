/** Growth of a drive: its file or device is larger than its superblock says. */

import { Refusal } from '../model/errors.ts';
import { formatSizeExact } from '../model/sizes.ts';
import type { DriveParts } from './drive-store.ts';
import { ioAsyncOf } from './exact.ts';
import { Geometry, growLayout, type Layout, sizeWithChunks } from './geometry.ts';
import { LOAD_BYTES } from './load.ts';
import { writeZeros } from './write-zeros.ts';

export type GrowOptions = {
  /** A file is made this large; a device has its size. */
  readonly sizeBytes?: number;
  readonly sparse?: boolean;
  readonly onProgress?: (progress: {
    readonly doneBytes: number;
    readonly totalBytes: number;
  }) => void;
};

/** Writes the new space, then lets a superblock with the new size count (drive-store.md, O13). */
export async function growDrive(parts: DriveParts, options: GrowOptions): Promise<void> {
  const { drive, env, checkpointer } = parts;
  const { media } = drive;
  const old = checkpointer.superblock.layout;
  const wanted = options.sizeBytes ?? (await env.files.sizeBytes(media.fd));
  const layout = growLayout(old, wanted);
  if (wanted < old.sizeBytes) {
    throw new Refusal('DRIVE_TOO_SMALL', {
      path: parts.path,
      size: formatSizeExact(wanted),
      minimum: formatSizeExact(old.sizeBytes),
    });
  }
  if (layout.sizeBytes === old.sizeBytes) return;
  refuseUseless(parts.path, old, layout.sizeBytes);
  if (
    options.sizeBytes !== undefined &&
    options.sizeBytes > (await env.files.sizeBytes(media.fd))
  ) {
    await env.files.allocate(media.fd, {
      sizeBytes: layout.sizeBytes,
      sparse: options.sparse === true,
    });
  }
  if (options.sparse !== true)
    await zero(parts, { from: old.sizeBytes, to: layout.sizeBytes }, options);
  // Twice: both superblocks have the new size, and with it the same place of their mirrors.
  await checkpointer.run({ layout });
  await checkpointer.run();
  // Only now: a record that names a new cell must not meet a superblock that does not know of it.
  const geometry = new Geometry(layout);
  drive.directory.grow(geometry.pageCount);
  media.geometry = geometry;
  drive.allocator.grow(layout.chunkCount);
}

async function zero(
  parts: DriveParts,
  range: { readonly from: number; readonly to: number },
  options: GrowOptions,
): Promise<void> {
  const { drive, env, scratch } = parts;
  const { bytes, fd } = drive.media;
  bytes.fill(0, scratch, scratch + LOAD_BYTES);
  const zeros = { address: scratch, lengthBytes: LOAD_BYTES };
  const totalBytes = range.to - range.from;
  let doneBytes = 0;
  const onWritten = (written: number): void => {
    doneBytes += written;
    options.onProgress?.({ doneBytes, totalBytes });
  };
  await writeZeros({ ioAsync: ioAsyncOf(env.io), fd, zeros, onWritten }, range);
  await parts.turns.flush();
}

/** Throws DRIVE_NOT_GROWN where the drive would be larger and not hold more, or be larger than it can use. */
function refuseUseless(path: string, old: Layout, wanted: number): void {
  const most = growLayout(old, Number.MAX_SAFE_INTEGER).chunkCount;
  const next = sizeWithChunks(old, old.chunkCount + 1);
  const end = sizeWithChunks(old, most + 1);
  if (wanted >= next && wanted < end) return;
  const problem =
    wanted < next && next < end
      ? `that brings no room, the next size that does is ${formatSizeExact(next)}`
      : `it was formatted for ${formatSizeExact(sizeWithChunks(old, most))} at most`;
  throw new Refusal('DRIVE_NOT_GROWN', { drive: path, wanted: formatSizeExact(wanted), problem });
}
