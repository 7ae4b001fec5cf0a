/**
 * NBD requests of the transmission phase: parsed, and judged against the export.
 *
 *     0   magic:32 = 0x25609513
 *     4   command flags:16
 *     6   type:16
 *     8   cookie:64          opaque; replies carry it back
 *     16  offset:64
 *     24  length:32
 *     28  data               WRITE only
 */

import { EINVAL, ENOSPC, EOPNOTSUPP, EOVERFLOW, EPERM } from '../../model/errno.ts';
import {
  CMD_BLOCK_STATUS,
  CMD_CACHE,
  CMD_DISC,
  CMD_FLAG_DF,
  CMD_FLAG_FAST_ZERO,
  CMD_FLAG_FUA,
  CMD_FLAG_NO_HOLE,
  CMD_FLAG_REQ_ONE,
  CMD_FLUSH,
  CMD_READ,
  CMD_TRIM,
  CMD_WRITE,
  CMD_WRITE_ZEROES,
  PAYLOAD_BYTES_MAX,
  REQUEST_MAGIC,
} from './constants.ts';

/** An offset that no volume reaches: stands for all above 2^53. */
const OFFSET_BEYOND: number = Number.MAX_SAFE_INTEGER;
const HIGH_WORD_LIMIT = 2 ** 21;

/** One request's fields. A parser reuses one of these for all requests: the hot path allocates nothing. */
export class RequestHeader {
  flags = 0;
  type = 0;
  /** The cookie's halves as they came. */
  cookieHigh = 0;
  cookieLow = 0;
  offsetBytes = 0;
  lengthBytes = 0;

  /** Parses the {@link REQUEST_BYTES} bytes at `at`; false if their magic is wrong, which no session survives. */
  parse(view: DataView, at: number): boolean {
    if (view.getUint32(at) !== REQUEST_MAGIC) return false;
    this.flags = view.getUint16(at + 4);
    this.type = view.getUint16(at + 6);
    this.cookieHigh = view.getUint32(at + 8);
    this.cookieLow = view.getUint32(at + 12);
    const high = view.getUint32(at + 16);
    this.offsetBytes =
      high < HIGH_WORD_LIMIT ? high * 2 ** 32 + view.getUint32(at + 20) : OFFSET_BEYOND;
    this.lengthBytes = view.getUint32(at + 24);
    return true;
  }
}

/** What a request is judged against. */
export type RequestLimits = {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly structuredReplies: boolean;
  readonly allocationContext: boolean;
};

/** Flags that each type may carry. FUA has to be accepted on every command once it is advertised. */
const FLAGS_ALLOWED: Readonly<Record<number, number>> = {
  [CMD_READ]: CMD_FLAG_FUA | CMD_FLAG_DF,
  [CMD_WRITE]: CMD_FLAG_FUA,
  [CMD_DISC]: CMD_FLAG_FUA,
  [CMD_FLUSH]: CMD_FLAG_FUA,
  [CMD_TRIM]: CMD_FLAG_FUA,
  [CMD_CACHE]: CMD_FLAG_FUA,
  [CMD_WRITE_ZEROES]: CMD_FLAG_FUA | CMD_FLAG_NO_HOLE | CMD_FLAG_FAST_ZERO,
  [CMD_BLOCK_STATUS]: CMD_FLAG_FUA | CMD_FLAG_REQ_ONE,
};

/** Returns 0, or the errno with which the protocol wants `request` refused ("Error values" and each request's own section). */
export function judgeRequest(request: RequestHeader, limits: RequestLimits): number {
  const { type, flags } = request;
  const allowed = type <= CMD_BLOCK_STATUS ? FLAGS_ALLOWED[type] : undefined;
  if (allowed === undefined || (flags & ~allowed) !== 0) return EINVAL;
  if ((flags & CMD_FLAG_DF) !== 0 && !limits.structuredReplies) return EINVAL;
  if (type === CMD_FLUSH) {
    return request.offsetBytes === 0 && request.lengthBytes === 0 ? 0 : EINVAL;
  }
  const writes = type === CMD_WRITE || type === CMD_TRIM || type === CMD_WRITE_ZEROES;
  if (writes && limits.readOnly) return EPERM;
  if (request.offsetBytes + request.lengthBytes > limits.sizeBytes) {
    return type === CMD_WRITE || type === CMD_WRITE_ZEROES ? ENOSPC : EINVAL;
  }
  if (request.lengthBytes > PAYLOAD_BYTES_MAX) {
    if (type === CMD_WRITE) return EINVAL;
    if (type === CMD_READ) return limits.structuredReplies ? EOVERFLOW : EINVAL;
  }
  if (type === CMD_BLOCK_STATUS && !limits.allocationContext) return EINVAL;
  if ((flags & CMD_FLAG_FAST_ZERO) !== 0 && !isFastZero(request)) return EOPNOTSUPP;
  return 0;
}

/** Whole blocks that may become a hole are freed, which is faster than writing them; the rest costs as much as a write. */
function isFastZero(request: RequestHeader): boolean {
  const aligned = request.offsetBytes % 4096 === 0 && request.lengthBytes % 4096 === 0;
  return aligned && (request.flags & CMD_FLAG_NO_HOLE) === 0;
}
