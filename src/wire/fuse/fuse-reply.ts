/**
 * Replies of the FUSE kernel protocol, major 7 (see fuse-request.ts).
 *
 *     word 0      length of the reply, bytes
 *          1      0, or a negative errno
 *          2, 3   unique of the request
 *          4...   what the opcode answers
 *
 * Each function writes a reply from word `at` on and returns its length in bytes.
 */

/** What this side speaks. 7.31 (Linux 5.4) is the oldest with all that is used here. */
export const PROTOCOL_MAJOR = 7;
export const PROTOCOL_MINOR = 31;

export const REPLY_HEADER_BYTES = 16;
/** The longest reply that the functions below write: attributes, header included. */
export const REPLY_BYTES_MAX = 120;

const INIT_ASYNC_READ = 1 << 0;
const INIT_BIG_WRITES = 1 << 5;
const INIT_ASYNC_DIO = 1 << 15;
const INIT_MAX_PAGES = 1 << 22;
/** Without any one of these the path is slow or, without MAX_PAGES, limited to 128 KiB; none is needed to be right. */
const INIT_FLAGS_WANTED: number =
  INIT_ASYNC_READ | INIT_BIG_WRITES | INIT_ASYNC_DIO | INIT_MAX_PAGES;

const OPEN_DIRECT_IO = 1 << 0;
/**
 * No FLUSH when a descriptor is closed. A server that is killed while it has its own file open would wait for its own answer, for ever.
 * Linux 5.18 and newer.
 */
const OPEN_NO_FLUSH = 1 << 5;
/** Linux 6.0 and newer; older kernels ignore it and submit writes one after the other. */
const OPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

/** S_IFREG and read and write for the owner. */
export const FILE_MODE = 0o100600;
const PAGE_BYTES = 4096;
const SECTOR_BYTES = 512;
const NAME_LENGTH_MAX = 255;
const WORD_RANGE = 2 ** 32;

export type Unique = { readonly uniqueLow: number; readonly uniqueHigh: number };

/** An outcome without content: `errno` 0 or positive. */
export function formatStatus(
  words: Uint32Array,
  at: number,
  reply: { readonly to: Unique; readonly errno: number },
): number {
  return header(words, at, reply.to, { lengthBytes: REPLY_HEADER_BYTES, errno: reply.errno });
}

/** The header of a READ's reply; the data follows it as another segment of the same write. */
export function formatRead(
  words: Uint32Array,
  at: number,
  reply: { readonly to: Unique; readonly dataBytes: number },
): number {
  header(words, at, reply.to, { lengthBytes: REPLY_HEADER_BYTES + reply.dataBytes, errno: 0 });
  return REPLY_HEADER_BYTES;
}

/** Formats the reply to FUSE_WRITE at `at`; returns its bytes. */
export function formatWrite(
  words: Uint32Array,
  at: number,
  reply: { readonly to: Unique; readonly dataBytes: number },
): number {
  const lengthBytes = header(words, at, reply.to, {
    lengthBytes: REPLY_HEADER_BYTES + 8,
    errno: 0,
  });
  words[at + 4] = reply.dataBytes;
  words[at + 5] = 0;
  return lengthBytes;
}

/** Tells the kernel how to use this file system. `requestCountMax`: what it may keep in flight by itself. */
export function formatInit(
  words: Uint32Array,
  at: number,
  reply: {
    readonly to: Unique;
    readonly kernelFlags: number;
    readonly writeBytesMax: number;
    readonly requestCountMax: number;
  },
): number {
  const lengthBytes = header(words, at, reply.to, {
    lengthBytes: REPLY_HEADER_BYTES + 64,
    errno: 0,
  });
  words.fill(0, at + 4, at + 20);
  words[at + 4] = PROTOCOL_MAJOR;
  words[at + 5] = PROTOCOL_MINOR;
  // Word 6, max_readahead, stays 0: there is no page cache on this side to read ahead into.
  words[at + 7] = reply.kernelFlags & INIT_FLAGS_WANTED;
  // max_background in the low half, congestion_threshold in the high one.
  words[at + 8] = reply.requestCountMax | (reply.requestCountMax << 16);
  words[at + 9] = reply.writeBytesMax;
  words[at + 10] = 1;
  words[at + 11] = reply.writeBytesMax / PAGE_BYTES;
  return lengthBytes;
}

/** Attributes of the file. They are not to be cached, so that a grown size is seen at once. */
export function formatAttributes(
  words: Uint32Array,
  at: number,
  reply: { readonly to: Unique; readonly sizeBytes: number },
): number {
  const lengthBytes = header(words, at, reply.to, {
    lengthBytes: REPLY_HEADER_BYTES + 104,
    errno: 0,
  });
  words.fill(0, at + 4, at + 30);
  const attributes = at + 8;
  words[attributes] = 1;
  wide(words, attributes + 2, reply.sizeBytes);
  wide(words, attributes + 4, Math.floor(reply.sizeBytes / SECTOR_BYTES));
  words[attributes + 15] = FILE_MODE;
  words[attributes + 16] = 1;
  words[attributes + 20] = PAGE_BYTES;
  return lengthBytes;
}

/** An open file: all I/O comes here as it was issued, the page cache has no part in it. */
export function formatOpen(words: Uint32Array, at: number, reply: { readonly to: Unique }): number {
  const lengthBytes = header(words, at, reply.to, {
    lengthBytes: REPLY_HEADER_BYTES + 16,
    errno: 0,
  });
  words.fill(0, at + 4, at + 8);
  words[at + 6] = OPEN_DIRECT_IO | OPEN_NO_FLUSH | OPEN_PARALLEL_DIRECT_WRITES;
  return lengthBytes;
}

/** Loop devices take the block size as the unit of their discards. */
export function formatStatfs(
  words: Uint32Array,
  at: number,
  reply: { readonly to: Unique; readonly sizeBytes: number },
): number {
  const lengthBytes = header(words, at, reply.to, {
    lengthBytes: REPLY_HEADER_BYTES + 80,
    errno: 0,
  });
  words.fill(0, at + 4, at + 24);
  wide(words, at + 4, Math.floor(reply.sizeBytes / PAGE_BYTES));
  words[at + 10] = 1;
  words[at + 14] = PAGE_BYTES;
  words[at + 15] = NAME_LENGTH_MAX;
  words[at + 16] = PAGE_BYTES;
  return lengthBytes;
}

function header(
  words: Uint32Array,
  at: number,
  to: Unique,
  reply: { readonly lengthBytes: number; readonly errno: number },
): number {
  words[at] = reply.lengthBytes;
  words[at + 1] = -reply.errno;
  words[at + 2] = to.uniqueLow;
  words[at + 3] = to.uniqueHigh;
  return reply.lengthBytes;
}

function wide(words: Uint32Array, at: number, value: number): void {
  words[at] = value % WORD_RANGE;
  words[at + 1] = Math.floor(value / WORD_RANGE);
}
