/**
 * Requests of the FUSE kernel protocol, major 7 (Linux, include/uapi/linux/fuse.h), as far as one regular file
 * needs them. Words are little-endian, as on every platform that Holdfast runs on.
 *
 *     word  0      length of header and arguments, bytes
 *           1      opcode
 *           2, 3   unique: names the request in its reply
 *           4, 5   node; the root is 1, and there is no other
 *           6..9   uid, gid, pid, extension length
 *          10...   arguments of the opcode
 */

export const OPCODE_FORGET = 2;
export const OPCODE_GETATTR = 3;
export const OPCODE_OPEN = 14;
export const OPCODE_READ = 15;
export const OPCODE_WRITE = 16;
export const OPCODE_STATFS = 17;
export const OPCODE_RELEASE = 18;
export const OPCODE_FSYNC = 20;
export const OPCODE_FLUSH = 25;
export const OPCODE_INIT = 26;
export const OPCODE_INTERRUPT = 36;
export const OPCODE_DESTROY = 38;
export const OPCODE_BATCH_FORGET = 42;
export const OPCODE_FALLOCATE = 43;

export const REQUEST_HEADER_BYTES = 40;
/** Where a WRITE's data begins, counted from the request's first byte. */
export const WRITE_DATA_AT = 80;
/** The kernel refuses reads of its device that are shorter than this (FUSE_MIN_READ_BUFFER). */
export const READ_BUFFER_BYTES_MIN = 8192;

export const FALLOCATE_KEEP_SIZE = 1;
export const FALLOCATE_PUNCH_HOLE = 2;
export const FALLOCATE_ZERO_RANGE = 16;

const WORD_RANGE = 2 ** 32;

/** One request, filled by {@link parseRequest}. Fields that the opcode does not have are 0. */
export type FuseRequest = {
  opcode: number;
  uniqueLow: number;
  uniqueHigh: number;
  /** READ, WRITE, FALLOCATE. */
  offsetBytes: number;
  lengthBytes: number;
  /** FALLOCATE: FALLOCATE_ flags. */
  mode: number;
  /** INIT: protocol version. */
  major: number;
  minor: number;
  /** INIT: what the kernel offers, first word of flags. */
  flags: number;
};

/** A request to parse into; it is reused. */
export function newRequest(): FuseRequest {
  return {
    opcode: 0,
    uniqueLow: 0,
    uniqueHigh: 0,
    offsetBytes: 0,
    lengthBytes: 0,
    mode: 0,
    major: 0,
    minor: 0,
    flags: 0,
  };
}

/** Words of arguments that each opcode has at least. What is not listed needs none. */
const ARGUMENT_WORDS: Readonly<Record<number, number>> = {
  [OPCODE_READ]: 10,
  [OPCODE_WRITE]: 10,
  [OPCODE_INIT]: 4,
  [OPCODE_FALLOCATE]: 8,
};

/**
 * Parses the request of `receivedBytes` that begins at word `at` into `request`. False if it is not one: the kernel
 * does not send such, so that the caller may end the connection.
 */
export function parseRequest(
  words: Uint32Array,
  at: number,
  options: { readonly receivedBytes: number; readonly request: FuseRequest },
): boolean {
  const { receivedBytes, request } = options;
  if (receivedBytes < REQUEST_HEADER_BYTES || words[at]! !== receivedBytes) return false;
  const opcode = words[at + 1]!;
  const needed = ARGUMENT_WORDS[opcode] ?? 0;
  if (receivedBytes < REQUEST_HEADER_BYTES + 4 * needed) return false;
  request.opcode = opcode;
  request.uniqueLow = words[at + 2]!;
  request.uniqueHigh = words[at + 3]!;
  request.offsetBytes = 0;
  request.lengthBytes = 0;
  request.mode = 0;
  request.major = 0;
  request.minor = 0;
  request.flags = 0;
  return parseArguments(words, at + 10, options);
}

function parseArguments(
  words: Uint32Array,
  at: number,
  options: { readonly receivedBytes: number; readonly request: FuseRequest },
): boolean {
  const { receivedBytes, request } = options;
  switch (request.opcode) {
    case OPCODE_READ:
    case OPCODE_WRITE:
      // fh, offset, size, flags, lock owner, flags, padding
      request.offsetBytes = wide(words, at + 2);
      request.lengthBytes = words[at + 4]!;
      return (
        request.opcode === OPCODE_READ || receivedBytes === WRITE_DATA_AT + request.lengthBytes
      );
    case OPCODE_FALLOCATE:
      // fh, offset, length, mode, padding
      request.offsetBytes = wide(words, at + 2);
      request.lengthBytes = wide(words, at + 4);
      request.mode = words[at + 6]!;
      return true;
    case OPCODE_INIT:
      request.major = words[at]!;
      request.minor = words[at + 1]!;
      request.flags = words[at + 3]!;
      return true;
    default:
      return true;
  }
}

/** A 64-bit number. Above 2^53 it is rounded, which no range check lets through. */
function wide(words: Uint32Array, at: number): number {
  return words[at]! + words[at + 1]! * WORD_RANGE;
}
