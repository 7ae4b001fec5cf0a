/** Requests of a head as frames, and back. The fields are those of docs/peer-protocol.md, "Frame". */

import type { Arena } from '../lib/arena.ts';
import type { Request, RequestKind } from '../replication/messages.ts';
import { BODY_BYTES_MAX, HEADER_BYTES, KIND_AT, TOO_LARGE, getNumber, putNumber } from './frame.ts';
import { parseRecord } from './record-json.ts';
import type { Violation } from './violation.ts';

/** By number on the wire. */
const KINDS: readonly (RequestKind | undefined)[] = [
  undefined,
  'open',
  'renew',
  'release',
  'record',
  'durable',
  'read',
  'flush',
  'marks',
  'digest',
  'survey',
  'write',
  'zero',
  'trim',
  'copy',
];
const NUMBERS: ReadonlyMap<RequestKind | undefined, number> = new Map(
  KINDS.map((kind, number) => [kind, number]),
);
const FUA = 1;
const ALLOCATE = 2;
export const RECORD_BYTES_MAX = 8192;

/** The number on the wire of a kind. */
export function numberOfKind(kind: RequestKind): number {
  return NUMBERS.get(kind) ?? 0;
}

/** The kind with this number; undefined: there is none. */
export function kindOfNumber(number: number): RequestKind | undefined {
  return KINDS[number];
}

/** Whether the body is the data of the request. */
export function hasData(kind: RequestKind): boolean {
  return kind === 'write' || kind === 'copy';
}

/** Fills in the fields of a frame begun at `address`, all but the kind. */
export function putRequest(arena: Arena, address: number, request: Request, slot: number): void {
  const { u8, view } = arena;
  u8[address + 33] = (request.fua ? FUA : 0) | (request.allocate ? ALLOCATE : 0);
  view.setUint16(address + 34, request.dataMask, true);
  view.setUint16(address + 36, slot, true);
  putNumber(arena, address + 40, request.session);
  putNumber(arena, address + 48, request.sequence);
  putNumber(arena, address + 56, request.epoch);
  putNumber(arena, address + 64, request.number);
  putNumber(arena, address + 72, request.offsetBytes);
  putNumber(arena, address + 80, request.stamp);
  view.setUint32(address + 88, request.lengthBytes, true);
}

/**
 * Reads a verified frame into `request`, all but its address; its token is the slot. Undefined: it is right. The fields of a request that
 * is not are nothing to look at.
 */
export function getRequest(
  arena: Arena,
  address: number,
  bodyBytes: number,
  request: Request,
): Violation | undefined {
  const { u8, view } = arena;
  const kind = kindOfNumber(u8[address + KIND_AT]!);
  if (kind === undefined) return 'PEER_KIND';
  const flags = u8[address + 33]!;
  if (flags > (FUA | ALLOCATE)) return 'PEER_FIELD';
  if (view.getUint16(address + 38, true) !== 0 || view.getUint32(address + 92, true) !== 0) {
    return 'PEER_FRAME';
  }
  request.kind = kind;
  request.fua = (flags & FUA) !== 0;
  request.allocate = (flags & ALLOCATE) !== 0;
  request.dataMask = view.getUint16(address + 34, true);
  request.token = view.getUint16(address + 36, true);
  request.session = getNumber(arena, address + 40);
  request.sequence = getNumber(arena, address + 48);
  request.epoch = getNumber(arena, address + 56);
  request.number = getNumber(arena, address + 64);
  request.offsetBytes = getNumber(arena, address + 72);
  request.stamp = getNumber(arena, address + 80);
  request.lengthBytes = view.getUint32(address + 88, true);
  request.record = undefined;
  request.head = undefined;
  const isSmall =
    request.session !== TOO_LARGE &&
    request.sequence !== TOO_LARGE &&
    request.epoch !== TOO_LARGE &&
    request.number !== TOO_LARGE &&
    request.offsetBytes !== TOO_LARGE &&
    request.stamp !== TOO_LARGE;
  if (!isSmall) return 'PEER_FIELD';
  return getBody(arena, address + HEADER_BYTES, bodyBytes, request);
}

function getBody(
  { u8 }: Arena,
  address: number,
  bodyBytes: number,
  request: Request,
): Violation | undefined {
  const { kind, lengthBytes } = request;
  if (kind === 'open' || kind === 'record') {
    if (bodyBytes > RECORD_BYTES_MAX) return 'PEER_FIELD';
    const body = parseRecord(new TextDecoder().decode(u8.subarray(address, address + bodyBytes)));
    if (body === undefined || (kind === 'open' && body.head === undefined)) return 'PEER_FIELD';
    request.record = body.record;
    request.head = body.head;
    return undefined;
  }
  if (bodyBytes !== (hasData(kind) ? lengthBytes : 0)) return 'PEER_FIELD';
  const hasRange = hasData(kind) || kind === 'read';
  return hasRange && (lengthBytes === 0 || lengthBytes > BODY_BYTES_MAX) ? 'PEER_FIELD' : undefined;
}
