/**
 * NBD replies of the transmission phase, formatted in place. A cookie travels as the two halves that RequestHeader parsed.
 *
 *     simple        magic:32 = 0x67446698  error:32  cookie:64  [data of a READ]
 *     chunk         magic:32 = 0x668e33ef  flags:16  type:16  cookie:64  length:32  payload
 *       NONE          (nothing)
 *       OFFSET_DATA   offset:64  data
 *       OFFSET_HOLE   offset:64  hole size:32
 *       BLOCK_STATUS  context:32  { length:32  state flags:32 } ...
 *       ERROR         error:32  message length:16  message
 *       ERROR_OFFSET  error:32  message length:16  message  offset:64
 */

import {
  EDQUOT,
  EFBIG,
  EINVAL,
  EIO,
  ENOMEM,
  ENOSPC,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  EROFS,
  ESHUTDOWN,
} from '../../model/errno.ts';
import {
  ALLOCATION_CONTEXT_ID,
  REPLY_FLAG_DONE,
  REPLY_TYPE_BLOCK_STATUS,
  REPLY_TYPE_ERROR,
  REPLY_TYPE_ERROR_OFFSET,
  REPLY_TYPE_NONE,
  REPLY_TYPE_OFFSET_DATA,
  REPLY_TYPE_OFFSET_HOLE,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from './constants.ts';

export const OFFSET_DATA_HEADER_BYTES = 28;
export const OFFSET_HOLE_BYTES = 32;
export const NONE_CHUNK_BYTES = 20;
export const BLOCK_STATUS_HEADER_BYTES = 24;
export const BLOCK_STATUS_EXTENT_BYTES = 8;
/** The largest error chunk: headers, offset and a message of at most 74 bytes. */
export const ERROR_CHUNK_BYTES_MAX = 108;

const TEXTS: ReadonlyMap<number, string> = new Map([
  [EPERM, 'The volume is attached read-only'],
  [EIO, 'The data cannot be read or written'],
  [EINVAL, 'The request is malformed, unknown or beyond the end of the volume'],
  [ENOSPC, 'No space is left, or the request ends beyond the volume'],
  [EOVERFLOW, 'Reads are at most 32 MiB long'],
  [EOPNOTSUPP, 'This range cannot be zeroed faster than it is written'],
  [ESHUTDOWN, 'The volume is being detached'],
]);
const TEXT_BYTES: ReadonlyMap<number, Uint8Array> = new Map(
  [...TEXTS].map(([errno, text]) => [errno, new TextEncoder().encode(text)]),
);

/** The protocol's error for an errno: it has eight, and everything else is EIO. */
export function nbdError(errno: number): number {
  switch (errno) {
    case 0:
    case EPERM:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case EOVERFLOW:
    case EOPNOTSUPP:
    case ESHUTDOWN:
      return errno;
    case EROFS:
      return EPERM;
    case EFBIG:
    case EDQUOT:
      return ENOSPC;
    default:
      return EIO;
  }
}

/** Formats a simple reply's 16 bytes at `at`; `errno` is 0 or one of the protocol's. */
export function formatSimpleReply(
  view: DataView,
  at: number,
  errno: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  view.setUint32(at, SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, errno);
  view.setUint32(at + 8, cookieHigh);
  view.setUint32(at + 12, cookieLow);
}

/** Formats an OFFSET_DATA chunk's 28 bytes at `at`; `lengthBytes` of data follow them. */
export function formatOffsetData(
  view: DataView,
  at: number,
  done: boolean,
  cookieHigh: number,
  cookieLow: number,
  offsetBytes: number,
  lengthBytes: number,
): void {
  header(view, at, done ? REPLY_FLAG_DONE : 0, REPLY_TYPE_OFFSET_DATA, cookieHigh, cookieLow);
  view.setUint32(at + 16, lengthBytes + 8);
  setOffset(view, at + 20, offsetBytes);
}

/** Formats an OFFSET_HOLE chunk, 32 bytes, at `at`. */
export function formatOffsetHole(
  view: DataView,
  at: number,
  done: boolean,
  cookieHigh: number,
  cookieLow: number,
  offsetBytes: number,
  lengthBytes: number,
): void {
  header(view, at, done ? REPLY_FLAG_DONE : 0, REPLY_TYPE_OFFSET_HOLE, cookieHigh, cookieLow);
  view.setUint32(at + 16, 12);
  setOffset(view, at + 20, offsetBytes);
  view.setUint32(at + 28, lengthBytes);
}

/** Formats the final chunk without content, 20 bytes, at `at`. */
export function formatNone(
  view: DataView,
  at: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  header(view, at, REPLY_FLAG_DONE, REPLY_TYPE_NONE, cookieHigh, cookieLow);
  view.setUint32(at + 16, 0);
}

/** Formats a BLOCK_STATUS chunk's 24 bytes at `at`; `count` extents follow, written by {@link formatStatusExtent}. */
export function formatBlockStatus(
  view: DataView,
  at: number,
  count: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  header(view, at, REPLY_FLAG_DONE, REPLY_TYPE_BLOCK_STATUS, cookieHigh, cookieLow);
  view.setUint32(at + 16, 4 + count * BLOCK_STATUS_EXTENT_BYTES);
  view.setUint32(at + 20, ALLOCATION_CONTEXT_ID);
}

/** Formats extent `index` of the BLOCK_STATUS chunk at `at`. */
export function formatStatusExtent(
  view: DataView,
  at: number,
  index: number,
  lengthBytes: number,
  state: number,
): void {
  const extent = at + BLOCK_STATUS_HEADER_BYTES + index * BLOCK_STATUS_EXTENT_BYTES;
  view.setUint32(extent, lengthBytes);
  view.setUint32(extent + 4, state);
}

/** Formats an ERROR chunk with a text for people at `at`, the last of its reply; returns its length. */
export function formatError(
  view: DataView,
  at: number,
  errno: number,
  cookieHigh: number,
  cookieLow: number,
): number {
  const text = TEXT_BYTES.get(errno);
  const textBytes = text?.length ?? 0;
  header(view, at, REPLY_FLAG_DONE, REPLY_TYPE_ERROR, cookieHigh, cookieLow);
  view.setUint32(at + 16, 6 + textBytes);
  formatErrorBody(view, at, errno, text);
  return 26 + textBytes;
}

/** Formats an ERROR_OFFSET chunk with a text for people at `at`; returns its length. */
export function formatErrorOffset(
  view: DataView,
  at: number,
  done: boolean,
  errno: number,
  cookieHigh: number,
  cookieLow: number,
  offsetBytes: number,
): number {
  const text = TEXT_BYTES.get(errno);
  const textBytes = text?.length ?? 0;
  header(view, at, done ? REPLY_FLAG_DONE : 0, REPLY_TYPE_ERROR_OFFSET, cookieHigh, cookieLow);
  view.setUint32(at + 16, 14 + textBytes);
  formatErrorBody(view, at, errno, text);
  setOffset(view, at + 26 + textBytes, offsetBytes);
  return 34 + textBytes;
}

function formatErrorBody(
  view: DataView,
  at: number,
  errno: number,
  text: Uint8Array | undefined,
): void {
  view.setUint32(at + 20, errno);
  view.setUint16(at + 24, text?.length ?? 0);
  if (text !== undefined) {
    for (let index = 0; index < text.length; index += 1) {
      view.setUint8(at + 26 + index, text[index] ?? 0);
    }
  }
}

function header(
  view: DataView,
  at: number,
  flags: number,
  type: number,
  cookieHigh: number,
  cookieLow: number,
): void {
  view.setUint32(at, STRUCTURED_REPLY_MAGIC);
  view.setUint16(at + 4, flags);
  view.setUint16(at + 6, type);
  view.setUint32(at + 8, cookieHigh);
  view.setUint32(at + 12, cookieLow);
}

function setOffset(view: DataView, at: number, offsetBytes: number): void {
  view.setUint32(at, Math.floor(offsetBytes / 2 ** 32));
  view.setUint32(at + 4, offsetBytes >>> 0);
}
