/** Streams of bytes for fuzzing an NBD server: what clients send, and what none would. */

import { Buffer } from 'node:buffer';

import type { Prng } from '../../src/lib/prng.ts';
import {
  OPT_ABORT,
  OPT_EXPORT_NAME,
  OPT_GO,
  OPT_INFO,
  OPT_LIST,
  OPT_LIST_META_CONTEXT,
  OPT_SET_META_CONTEXT,
  OPT_STARTTLS,
  OPT_STRUCTURED_REPLY,
} from '../../src/wire/nbd/constants.ts';
import { formatOption, formatRequest, infoData, metaData } from '../nbd-raw-client.ts';
import type { Mode } from './nbd-oracle.ts';

/** Client flags and some options, in any order and none too sensible; not ended by GO. */
export function randomOptions(prng: Prng, name: string): Buffer {
  const parts: Buffer[] = [Buffer.from([0, 0, 0, prng.pick([3, 3, 3, 1, 2, 0])])];
  for (let count = prng.below(6); count > 0; count -= 1) parts.push(randomOption(prng, name));
  return Buffer.concat(parts);
}

function randomOption(prng: Prng, name: string): Buffer {
  const said = prng.pick([name, name, name, '', 'other', `${name}x`, 'n'.repeat(prng.below(5000))]);
  switch (prng.below(10)) {
    case 0:
      return formatOption(OPT_STRUCTURED_REPLY);
    case 1:
      return formatOption(OPT_LIST);
    case 2:
      return formatOption(OPT_INFO, infoData(said, randomInfos(prng)));
    case 3:
      return formatOption(OPT_GO, infoData(said, randomInfos(prng)));
    case 4:
      return formatOption(OPT_SET_META_CONTEXT, metaData(said, randomQueries(prng)));
    case 5:
      return formatOption(OPT_LIST_META_CONTEXT, metaData(said, randomQueries(prng)));
    case 6:
      return formatOption(OPT_STARTTLS);
    case 7:
      return formatOption(prng.pick([OPT_ABORT, OPT_EXPORT_NAME]), Buffer.from(said));
    case 8:
      return formatOption(prng.below(14), prng.bytes(prng.below(100)));
    default:
      return formatOption(prng.next(), Buffer.alloc(prng.pick([0, 1, 32_768, 32_769, 70_000])));
  }
}

function randomInfos(prng: Prng): number[] {
  return Array.from({ length: prng.below(6) }, () => prng.below(6));
}

function randomQueries(prng: Prng): string[] {
  const known = ['base:allocation', 'base:', 'base:x', 'qemu:', 'nocolon', ':', '', 'x-y:z'];
  return Array.from({ length: prng.below(5) }, () => prng.pick(known));
}

/** A handshake that leads to transmission in `mode`. */
export function handshakeFor(mode: Mode, name: string): Buffer {
  const parts: Buffer[] = [Buffer.from([0, 0, 0, 3])];
  if (mode.structured) parts.push(formatOption(OPT_STRUCTURED_REPLY));
  if (mode.contexts) {
    parts.push(formatOption(OPT_SET_META_CONTEXT, metaData(name, ['base:allocation'])));
  }
  parts.push(formatOption(OPT_GO, infoData(name)));
  return Buffer.concat(parts);
}

/** A transmission phase: mostly sensible requests, some with fields that are not. Cookies are distinct. */
export function randomTransmission(prng: Prng, sizeBytes: number): Buffer {
  const parts: Buffer[] = [];
  const count = 1 + prng.below(prng.chance(10) ? 100 : 10);
  const spoils = prng.chance(35);
  for (let index = 0; index < count; index += 1) {
    const request = randomRequest(prng, sizeBytes, BigInt(index) * 2n ** 40n + 5n);
    if (spoils && prng.chance(25)) spoil(prng, request);
    parts.push(request);
  }
  switch (prng.below(10)) {
    case 0:
      parts.push(Buffer.from(prng.bytes(prng.below(200))));
      break;
    case 1:
      parts.push(formatRequest({ type: 1, length: 5_000_000, cookie: 1n }));
      break;
    default:
      parts.push(formatRequest({ type: 2, cookie: 2n }));
  }
  return Buffer.concat(parts);
}

function randomRequest(prng: Prng, sizeBytes: number, cookie: bigint): Buffer {
  const type = prng.pick([0, 0, 0, 0, 1, 1, 1, 3, 4, 5, 6, 7, 8]);
  const length = randomLength(prng, sizeBytes);
  const end = prng.chance(5) ? prng.below(3) - 1 : 0;
  const offset = prng.chance(10)
    ? Math.max(0, sizeBytes - length + end)
    : prng.below(Math.max(1, sizeBytes - length + 1));
  const flags = prng.chance(70) ? 0 : 1 << prng.below(6);
  if (type === 3) return formatRequest({ type, cookie });
  if (type !== 1) return formatRequest({ type, flags, cookie, offset, length });
  const data = prng.chance(20) ? Buffer.alloc(length) : Buffer.alloc(length, prng.bytes(61));
  return formatRequest({ type, flags, cookie, offset, data });
}

function randomLength(prng: Prng, sizeBytes: number): number {
  if (prng.chance(50)) return prng.pick([0, 1, 512, 4096, 4096, 4096, 8192]);
  if (prng.chance(70)) return prng.below(20_000);
  return prng.chance(80) ? prng.below(400_000) : prng.below(sizeBytes);
}

/** Changes bytes of a request's header, never of its cookie. */
function spoil(prng: Prng, request: Buffer): void {
  for (let count = 1 + prng.below(3); count > 0; count -= 1) {
    const at = prng.pick([0, 3, 4, 5, 6, 7, 7, 7, 16, 18, 20, 23, 24, 25, 26, 27]);
    request[at] = prng.pick([0, 1, 0x80, 0xff, prng.below(256)]);
  }
}

/** Changes, removes, repeats or inserts bytes anywhere. */
export function mutate(prng: Prng, stream: Buffer): Buffer {
  let bytes = stream;
  for (let count = 1 + prng.below(4); count > 0; count -= 1) {
    const at = prng.below(bytes.length + 1);
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
    switch (prng.below(5)) {
      case 0:
        bytes = Buffer.concat([before, prng.bytes(1 + prng.below(8)), after]);
        break;
      case 1:
        bytes = Buffer.concat([before, after.subarray(1 + prng.below(8))]);
        break;
      case 2:
        bytes = Buffer.concat([before, bytes.subarray(prng.below(bytes.length + 1))]);
        break;
      case 3:
        bytes = Buffer.from(before);
        break;
      default:
        bytes = Buffer.from(bytes);
        if (at < bytes.length) bytes[at] = prng.pick([0, 0xff, bytes[at]! ^ (1 << prng.below(8))]);
    }
  }
  return bytes;
}

/** Cuts a stream into the pieces in which it is sent. */
export function randomPieces(prng: Prng, stream: Buffer): Buffer[] {
  if (prng.chance(50)) return [stream];
  const pieces: Buffer[] = [];
  const sizeMax = prng.pick([1, 30, 5000, 100_000]);
  for (let at = 0; at < stream.length && pieces.length < 20;) {
    const next = at + 1 + prng.below(sizeMax);
    pieces.push(stream.subarray(at, next));
    at = next;
  }
  const sent = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (sent < stream.length) pieces.push(stream.subarray(sent));
  return pieces;
}
