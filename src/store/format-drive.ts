/** Makes a drive of a file or a block device. The superblock is written last: until then the drive is not one. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import {
  EAGAIN,
  EBUSY,
  EDQUOT,
  EFBIG,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOSPC,
  ENOTBLK,
  EOPNOTSUPP,
  ErrnoError,
  errnoInWords,
} from '../model/errno.ts';
import { Refusal } from '../model/errors.ts';
import { formatSize, formatSizeExact } from '../model/sizes.ts';
import { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import type { IoAsync } from '../env/io-async.ts';
import type { Env, OpenFile } from '../env/env.ts';
import { ioAsyncOf, readExact } from './exact.ts';
import { planLayout, type Layout } from './geometry.ts';
import { findSignature, SIGNATURE_BYTES } from './signatures.ts';
import {
  formatSuperblock,
  NO_BOOT,
  parseSuperblock,
  type Superblock,
  uuid32,
} from './superblock.ts';
import { hexWords, wordsHex } from './volume.ts';
import { writeZeros } from './write-zeros.ts';

export type FormatOptions = {
  readonly path: string;
  /** Arena memory for the work; {@link FORMAT_BYTES} of it are taken. */
  readonly arena: Arena;
  /** A new file needs it; an existing file or device is used whole without it. */
  readonly sizeBytes?: number;
  /** Leave holes in the file instead of writing it: faster now, but its fdatasyncs then wait for the host's journal. */
  readonly sparse?: boolean;
  /** Format though there is something. */
  readonly force?: boolean;
  /** 32 hex digits; random without it. A drive that bears it already is left as it is, so that a format can be asked for twice. */
  readonly driveUuid?: string;
  /** The cluster that it is for, 32 hex digits; without it none. */
  readonly clusterUuid?: string;
  /** Small layouts for tests. */
  readonly geometry?: {
    readonly logBytes?: number;
    readonly tablePages?: number;
    readonly cellsPerChunk?: number;
    readonly chunkCountMax?: number;
  };
  /** What it throws ends the format. */
  readonly onProgress?: (progress: {
    readonly doneBytes: number;
    readonly totalBytes: number;
  }) => void;
};

const ZERO_BYTES = 1024 * 1024;
/** Places of a device looked at for data, the beginning not counted: every sixteenth of the size, {@link SIGNATURE_BYTES} each, the end last. */
const SAMPLE_COUNT = 16;
export const FORMAT_BYTES: number = ZERO_BYTES + 2 * SIGNATURE_BYTES + BLOCK_BYTES;

export async function formatDrive(
  env: Env,
  options: FormatOptions,
): Promise<{ driveUuid: string; sizeBytes: number }> {
  const { file, created } = await openForFormat(env, options);
  const ioAsync = ioAsyncOf(env.io);
  try {
    const address = options.arena.reserve(FORMAT_BYTES, BLOCK_BYTES);
    const before = created ? undefined : await ownBefore(file, { options, ioAsync, address });
    if (before !== undefined) {
      await env.files.close(file.fd);
      return { driveUuid: wordsHex(before.driveUuid), sizeBytes: before.layout.sizeBytes };
    }
    if (!created && options.force !== true)
      await refuseForeign(env, file, { options, ioAsync, address });
    const sizeBytes = Math.floor((options.sizeBytes ?? file.sizeBytes) / BLOCK_BYTES) * BLOCK_BYTES;
    const layout = planLayout({ ...options.geometry, sizeBytes });
    if (layout === undefined) {
      throw new Refusal('DRIVE_TOO_SMALL', {
        path: options.path,
        size: formatSizeExact(sizeBytes),
        minimum: formatSizeExact(minimumBytes(options)),
      });
    }
    const sparse = options.sparse === true;
    if (file.kind === 'file') await env.files.allocate(file.fd, { sizeBytes, sparse });
    await zero(file.fd, {
      options,
      ioAsync,
      address,
      layout,
      whole: !sparse || file.kind === 'block',
    });
    await ioAsync.flush(file.fd);
    const driveUuid = await writeFirstSuperblock(env, { file, options, ioAsync, address, layout });
    await env.files.close(file.fd);
    return { driveUuid, sizeBytes: layout.sizeBytes };
  } catch (error) {
    await env.files.close(file.fd);
    // A file that this call made and could not finish would only be in the way.
    if (created) await env.files.remove(options.path);
    throw formatRefusal(error, options);
  }
}

async function openForFormat(
  env: Env,
  options: FormatOptions,
): Promise<{ file: OpenFile; created: boolean }> {
  const open = { direct: true, exclusive: true } as const;
  try {
    try {
      return { file: await env.files.open(options.path, open), created: false };
    } catch (error) {
      if (!(error instanceof ErrnoError) || error.errno !== ENOENT) throw error;
      if (options.sizeBytes === undefined) {
        throw new Refusal('SIZE_INVALID', {
          size: '',
          problem: `"${options.path}" is a new file and needs a size`,
        });
      }
      return { file: await env.files.open(options.path, { ...open, create: true }), created: true };
    }
  } catch (error) {
    throw openRefusal(error, options.path);
  }
}

const OPEN_PROBLEMS: Readonly<Record<number, string>> = {
  [ENOENT]: 'there is no such file',
  [EISDIR]: 'it is a directory, and a drive is a file or a block device',
  [ENOTBLK]: 'it is neither a file nor a block device',
};

/** What a failed open means to the user. */
export function openRefusal(error: unknown, path: string): unknown {
  if (!(error instanceof ErrnoError)) return error;
  if (error.errno === EAGAIN || error.errno === EBUSY) return new Refusal('DRIVE_BUSY', { path });
  if (error.errno === EINVAL || error.errno === EOPNOTSUPP)
    return new Refusal('DRIVE_NO_DIRECT_IO', { path });
  const problem = OPEN_PROBLEMS[error.errno] ?? `it cannot be opened: ${errnoInWords(error.errno)}`;
  return new Refusal('PATH_INVALID', { path, problem });
}

function formatRefusal(error: unknown, { path, sizeBytes = 0 }: FormatOptions): unknown {
  if (!(error instanceof ErrnoError)) return error;
  if (error.errno !== ENOSPC && error.errno !== EDQUOT && error.errno !== EFBIG) return error;
  const alternatives = ', or make a smaller drive';
  const needed = formatSize(sizeBytes);
  return new Refusal('SPACE_SHORT', { path, needed, free: 'fewer bytes', alternatives });
}

function minimumBytes(options: FormatOptions): number {
  let bytes = 16 * 1024 * 1024;
  while (planLayout({ ...options.geometry, sizeBytes: bytes }) === undefined)
    bytes += 16 * 1024 * 1024;
  return bytes;
}

type Work = {
  readonly options: FormatOptions;
  readonly ioAsync: IoAsync;
  readonly address: number;
};

/** The superblock of the drive that is to be made, where an earlier call made it. */
async function ownBefore(file: OpenFile, work: Work): Promise<Superblock | undefined> {
  const { address, options } = work;
  if (options.driveUuid === undefined || file.sizeBytes < 2 * BLOCK_BYTES) return undefined;
  await readExact(work.ioAsync, file.fd, BLOCK_BYTES, { address, lengthBytes: BLOCK_BYTES });
  const { memory, u32 } = options.arena;
  const parsed = parseSuperblock(u32, { address, checksum: checksumOf(memory) });
  const isOwn = parsed.kind === 'ok' && wordsHex(parsed.superblock.driveUuid) === options.driveUuid;
  return isOwn ? parsed.superblock : undefined;
}

/**
 * Refuses what holds anything: a known signature by its name, else data by the place of its first byte that was found; a device is only
 * sampled. A file of zeros is free to take, and a drive of ours that was half formatted is one: its superblock comes last.
 */
async function refuseForeign(env: Env, file: OpenFile, work: Work): Promise<void> {
  const { u8 } = work.options.arena;
  const { path } = work.options;
  const length = Math.min(SIGNATURE_BYTES, Math.floor(file.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES);
  if (length > 0) {
    const start = work.address;
    const end = start + SIGNATURE_BYTES;
    const lastBlock = Math.floor(file.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    const lengthBytes = length;
    await readExact(work.ioAsync, file.fd, 0, { address: start, lengthBytes });
    await readExact(work.ioAsync, file.fd, lastBlock - length, { address: end, lengthBytes });
    const found = findSignature(u8.subarray(start, start + length), u8.subarray(end, end + length));
    if (found !== undefined) throw new Refusal('DRIVE_SIGNATURE', { path, found });
  }
  const at = await findData(env, file, work);
  if (at === undefined) return;
  throw new Refusal('DRIVE_SIGNATURE', { path, found: `data (byte ${at} is not zero)` });
}

/** Where the first byte is that is not zero: of a file the first of all, of a device the first of those that were looked at. */
async function findData(env: Env, file: OpenFile, work: Work): Promise<number | undefined> {
  return file.kind === 'file' ? findInFile(env, file, work) : findInSamples(file, work);
}

/** Holes are passed over, so that a large file that was only made costs nothing. */
async function findInFile(env: Env, file: OpenFile, work: Work): Promise<number | undefined> {
  const { ioAsync, address, options } = work;
  for (let at = 0; ;) {
    const data = await env.files.nextData(file.fd, at);
    if (data === undefined) return undefined;
    at = Math.max(at, Math.floor(data.fromBytes / BLOCK_BYTES) * BLOCK_BYTES);
    for (; at < data.toBytes; at += ZERO_BYTES) {
      const count = await ioAsync.read(file.fd, at, { address, lengthBytes: ZERO_BYTES });
      const found = firstByte(options.arena, address, address + count);
      if (found !== undefined) return at + found - address;
      options.onProgress?.({ doneBytes: 0, totalBytes: file.sizeBytes });
    }
  }
}

/** Looks at the beginning, at the end and at places between: reading a device takes hours. */
async function findInSamples(file: OpenFile, work: Work): Promise<number | undefined> {
  const { ioAsync, address, options } = work;
  const lastAt = Math.ceil(file.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES - SIGNATURE_BYTES;
  const lengthBytes = SIGNATURE_BYTES;
  for (let sample = 0; sample <= SAMPLE_COUNT; sample += 1) {
    const place = (Math.max(0, lastAt) / SAMPLE_COUNT) * sample;
    const at = Math.floor(place / BLOCK_BYTES) * BLOCK_BYTES;
    const count = await ioAsync.read(file.fd, at, { address, lengthBytes });
    const found = firstByte(options.arena, address, address + count);
    if (found !== undefined) return at + found - address;
  }
  return undefined;
}

/** The address of the first byte from `address` (a multiple of 4) to `end` that is not zero. */
function firstByte({ u8, u32 }: Arena, address: number, end: number): number | undefined {
  let word = address >>> 2;
  while (word < end >>> 2 && u32[word] === 0) word += 1;
  const rest = u8.subarray(word * 4, end).findIndex((byte) => byte !== 0);
  return rest < 0 ? undefined : word * 4 + rest;
}

/** Writes zeros: over everything, so that later writes change no metadata of the host's file system, or over metadata alone. */
async function zero(
  fd: number,
  work: Work & { readonly layout: Layout; readonly whole: boolean },
): Promise<void> {
  const { layout, address, ioAsync, options } = work;
  options.arena.u8.fill(0, address, address + ZERO_BYTES);
  const ranges = work.whole
    ? [{ from: 0, to: layout.sizeBytes }]
    : [
        { from: 0, to: layout.chunkStart * BLOCK_BYTES },
        { from: layout.sizeBytes - 2 * BLOCK_BYTES, to: layout.sizeBytes },
      ];
  const totalBytes = ranges.reduce((sum, { from, to }) => sum + to - from, 0);
  let doneBytes = 0;
  const zeros = { address, lengthBytes: ZERO_BYTES };
  const onWritten = (bytes: number): void => {
    doneBytes += bytes;
    options.onProgress?.({ doneBytes, totalBytes });
  };
  for (const range of ranges) await writeZeros({ ioAsync, fd, zeros, onWritten }, range);
}

async function writeFirstSuperblock(
  env: Env,
  work: Work & { readonly file: OpenFile; readonly layout: Layout },
): Promise<string> {
  const { layout, address, ioAsync, file } = work;
  const { memory, u32 } = work.options.arena;
  const random = new Uint32Array(env.random.bytes(24).buffer);
  const { driveUuid: wanted, clusterUuid: cluster } = work.options;
  const driveUuid = wanted === undefined ? [...random.subarray(0, 4)] : hexWords(wanted);
  const superblock: Superblock = {
    layout,
    driveUuid,
    clusterUuid: cluster === undefined ? [0, 0, 0, 0] : hexWords(cluster),
    n: 1,
    tailLsn: 1,
    tailBlock: 0,
    tailChain: uuid32(driveUuid) | 0,
    saltLow: random[4] ?? 0,
    saltHigh: random[5] ?? 0,
    incarnation: 0,
    clean: true,
    directoryDigestLow: 0x811c9dc5,
    directoryDigestHigh: 0x9e3779b1,
    nextVolumeNumber: 1,
    features: 0,
    life: 0,
    bootId: NO_BOOT,
    marksLsn: 0,
    generation: 0,
  };
  formatSuperblock(u32, superblock, { address, checksum: checksumOf(memory) });
  const range = { address, lengthBytes: BLOCK_BYTES };
  for (const block of [1, layout.sizeBytes / BLOCK_BYTES - 1]) {
    await ioAsync.write(file.fd, block * BLOCK_BYTES, range);
  }
  await ioAsync.flush(file.fd);
  return wordsHex(driveUuid);
}
