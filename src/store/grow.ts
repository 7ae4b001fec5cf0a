/** Growth of a drive: its file or device is larger than its superblock says. */

import { Refusal } from '../model/errors.ts';
import { formatSizeExact } from '../model/sizes.ts';
import type { DriveParts } from './drive-store.ts';
import { ioAsyncOf } from './exact.ts';
import { Geometry, growLayout } from './geometry.ts';
import { LOAD_BYTES } from './load.ts';

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
    await writeZeros(parts, { from: old.sizeBytes, to: layout.sizeBytes }, options);
  // Twice: both superblocks have the new size, and with it the same place of their mirrors.
  await checkpointer.run({ layout });
  await checkpointer.run();
  // Only now: a record that names a new cell must not meet a superblock that does not know of it.
  const geometry = new Geometry(layout);
  drive.directory.grow(geometry.pageCount);
  media.geometry = geometry;
  drive.allocator.grow(layout.chunkCount);
}

async function writeZeros(
  parts: DriveParts,
  range: { readonly from: number; readonly to: number },
  options: GrowOptions,
): Promise<void> {
  const { drive, env, scratch } = parts;
  const ioAsync = ioAsyncOf(env.io);
  drive.media.bytes.fill(0, scratch, scratch + LOAD_BYTES);
  for (let at = range.from; at < range.to; at += LOAD_BYTES) {
    const lengthBytes = Math.min(LOAD_BYTES, range.to - at);
    await ioAsync.write(drive.media.fd, at, { address: scratch, lengthBytes });
    options.onProgress?.({
      doneBytes: at + lengthBytes - range.from,
      totalBytes: range.to - range.from,
    });
  }
  await parts.turns.flush();
}
