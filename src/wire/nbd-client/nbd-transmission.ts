/**
 * The client's side of NBD's transmission phase with simple replies (NBD protocol, "Request message", "Simple reply
 * message"). All numbers are big-endian.
 *
 *     request  magic(4), flags(2), type(2), cookie(8), offset(8), length(4); a WRITE's data follows
 *     reply    magic(4), error(4), cookie(8); the data of a READ without error follows
 */

import { REQUEST_MAGIC, SIMPLE_REPLY_MAGIC } from '../nbd/constants.ts';

const WORD_RANGE = 2 ** 32;

/** Errors of the protocol are Linux numbers; what is not in its list counts as EINVAL ("Error values"). */
const ERROR_EINVAL = 22;
const ERRORS: ReadonlySet<number> = new Set([0, 1, 5, 12, 22, 28, 75, 95, 108]);

export type Request = {
  readonly flags: number;
  readonly type: number;
  /** Comes back in the reply: two words. */
  readonly cookieHigh: number;
  readonly cookieLow: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
};

/** Writes a request, 28 bytes. */
export function formatRequest(view: DataView, at: number, request: Request): void {
  view.setUint32(at, REQUEST_MAGIC);
  view.setUint16(at + 4, request.flags);
  view.setUint16(at + 6, request.type);
  view.setUint32(at + 8, request.cookieHigh);
  view.setUint32(at + 12, request.cookieLow);
  view.setUint32(at + 16, Math.floor(request.offsetBytes / WORD_RANGE));
  view.setUint32(at + 20, request.offsetBytes % WORD_RANGE);
  view.setUint32(at + 24, request.lengthBytes);
}

export type Reply = { errno: number; cookieHigh: number; cookieLow: number };

/** Parses a reply, 16 bytes, into `reply`. False if it is none. */
export function parseReply(view: DataView, at: number, reply: Reply): boolean {
  if (view.getUint32(at) !== SIMPLE_REPLY_MAGIC) return false;
  const error = view.getUint32(at + 4);
  reply.errno = ERRORS.has(error) ? error : ERROR_EINVAL;
  reply.cookieHigh = view.getUint32(at + 8);
  reply.cookieLow = view.getUint32(at + 12);
  return true;
}
