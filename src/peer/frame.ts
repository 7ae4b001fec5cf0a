/**
 * The layout of a frame (docs/peer-protocol.md, "Frame"): a header of 96 bytes right before its body, at any address.
 *
 *     0   4   magic "HFP1"
 *     4   4   bodyBytes
 *     8   8   0
 *     16  16  proof                 see guard.ts
 *     32  64  fields                see request-frame.ts, answer-frame.ts
 *     96  n   body, and zeros up to a multiple of 32
 */

import type { Arena } from '../lib/arena.ts';
import { REQUEST_BYTES_MAX } from '../model/block-target.ts';

export const HEADER_BYTES = 96;
export const BODY_BYTES_MAX: number = REQUEST_BYTES_MAX;
export const FRAME_BYTES_MAX: number = HEADER_BYTES + BODY_BYTES_MAX;
/** Where the kind is: every frame has one, and only it is looked at before the rest. */
export const KIND_AT = 32;
export const PROOF_AT = 16;
export const PROOF_BYTES = 16;
/** What proofs of a sealed frame cover besides reading: from here on it is encrypted. */
export const SEALED_AT = 32;

/** Frames of the connection itself; 1 to 14 are requests, 129 to 142 their answers. */
export const HELLO = 64;
export const WELCOME = 65;
export const REKEY = 66;
export const BYE = 67;

const MAGIC = 0x3150_4648;
const STEP_BYTES = 32;
const WORD_RANGE = 2 ** 32;
/** Numbers on the wire are below 2^53. */
const HIGH_WORD_LIMIT: number = 2 ** 21;
/** What {@link getNumber} gives for a number that is too large. */
export const TOO_LARGE = -1;

/** Bytes of a frame with such a body. */
export function frameBytesOf(bodyBytes: number): number {
  return HEADER_BYTES + Math.ceil(bodyBytes / STEP_BYTES) * STEP_BYTES;
}

/**
 * Begins a frame at `address`: fields and proof are zero, and so is what follows the body, which the caller writes before or after.
 * Returns the frame's bytes.
 */
export function startFrame(
  { u8, view }: Arena,
  address: number,
  { kind, bodyBytes }: { readonly kind: number; readonly bodyBytes: number },
): number {
  u8.fill(0, address, address + HEADER_BYTES);
  view.setUint32(address, MAGIC, true);
  u8[address + KIND_AT] = kind;
  return endFrame({ u8, view }, address, bodyBytes);
}

/** Gives a frame that was begun at `address` another body, which is there already. Returns the frame's bytes. */
export function endFrame(
  { u8, view }: Pick<Arena, 'u8' | 'view'>,
  address: number,
  bodyBytes: number,
): number {
  const frameBytes = frameBytesOf(bodyBytes);
  view.setUint32(address + 4, bodyBytes, true);
  u8.fill(0, address + HEADER_BYTES + bodyBytes, address + frameBytes);
  return frameBytes;
}

/** The length of the body of the frame whose first 16 bytes are at `address`; -1: this is none. */
export function bodyBytesOf({ view }: Arena, address: number): number {
  const bodyBytes = view.getUint32(address + 4, true);
  const isFrame =
    view.getUint32(address, true) === MAGIC &&
    bodyBytes <= BODY_BYTES_MAX &&
    view.getUint32(address + 8, true) === 0 &&
    view.getUint32(address + 12, true) === 0;
  return isFrame ? bodyBytes : -1;
}

/** Writes a number below 2^53. */
export function putNumber({ view }: Arena, address: number, value: number): void {
  view.setUint32(address, value >>> 0, true);
  view.setUint32(address + 4, value / WORD_RANGE, true);
}

/** Reads a number; {@link TOO_LARGE} if it is 2^53 or more. */
export function getNumber({ view }: Arena, address: number): number {
  const high = view.getUint32(address + 4, true);
  if (high >= HIGH_WORD_LIMIT) return TOO_LARGE;
  return high * WORD_RANGE + view.getUint32(address, true);
}
