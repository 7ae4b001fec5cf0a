/** Answers of a replica as frames, and back. The fields are those of docs/peer-protocol.md, "Frame". */

import type { Arena } from '../lib/arena.ts';
import {
  type Answer,
  type Digest,
  type Mark,
  type SurveyEntry,
  isChange,
} from '../replication/messages.ts';
import { HEADER_BYTES, KIND_AT, TOO_LARGE, getNumber, putNumber } from './frame.ts';
import { formatRecord, parseRecord } from './record-json.ts';
import { RECORD_BYTES_MAX, kindOfNumber, numberOfKind } from './request-frame.ts';
import type { Violation } from './violation.ts';

/** The kind of an answer is so much above that of its request. */
export const ANSWER = 128;
const HAS_BASE = 1;
const DROPPED = 2;
const MARK_BYTES = 8;
const DIGEST_BYTES = 32;
const SURVEY_ENTRY_BYTES = 16;
/** Of a slot that is answered alike. */
export const ALIKE_BYTES = 2;
/** Most answers have nothing of these: one list for all of them. */
const NONE: readonly never[] = [];

/** The number on the wire of an answer's kind. */
export function numberOfAnswer({ kind }: Pick<Answer, 'kind'>): number {
  return ANSWER + numberOfKind(kind);
}

/**
 * Writes the body of an answer, other than data read, which is there already, and returns its bytes. There is room for `roomBytes`: more
 * than that is a bug of the replica, and throws a RangeError.
 */
export function putAnswerBody(
  arena: Arena,
  address: number,
  answer: Answer,
  roomBytes: number,
): number {
  const { u8, view } = arena;
  const { record, marks, digest, survey } = answer;
  if (record !== undefined) {
    const room = u8.subarray(address, address + roomBytes);
    const text = formatRecord({ record, head: undefined });
    const { read, written } = new TextEncoder().encodeInto(text, room);
    if (read !== text.length) throw new RangeError('a record is larger than its answer may be');
    return written;
  }
  const bodyBytes =
    marks.length * MARK_BYTES +
    survey.length * SURVEY_ENTRY_BYTES +
    (digest === undefined ? 0 : DIGEST_BYTES);
  if (bodyBytes === 0) return 0;
  if (bodyBytes > roomBytes) throw new RangeError('an answer is larger than its slot');
  u8.fill(0, address, address + bodyBytes);
  for (const [index, { extent, mask }] of marks.entries()) {
    view.setUint32(address + index * MARK_BYTES, extent, true);
    view.setUint32(address + index * MARK_BYTES + 4, mask, true);
  }
  for (const [index, entry] of survey.entries()) {
    const at = address + index * SURVEY_ENTRY_BYTES;
    view.setUint32(at, entry.extent, true);
    view.setUint16(at + 4, entry.dataMask, true);
    view.setUint16(at + 6, 0, true);
    putNumber(arena, at + 8, entry.stamp);
  }
  if (digest !== undefined) {
    for (const [index, word] of digest.words.entries()) {
      view.setUint32(address + 4 * index, word, true);
    }
    putNumber(arena, address + 16, digest.stamp);
    view.setUint16(address + 24, digest.dataMask, true);
  }
  return bodyBytes;
}

/** Fills in the fields of a frame begun at `address`, all but the kind. */
export function putAnswer(arena: Arena, address: number, answer: Answer): void {
  const { u8, view } = arena;
  const { base } = answer;
  u8[address + 33] = base === undefined ? 0 : HAS_BASE;
  view.setUint16(address + 36, answer.token, true);
  view.setUint16(address + 38, answer.errno, true);
  putNumber(arena, address + 40, answer.session);
  putNumber(arena, address + 48, answer.life);
  if (base === undefined) return;
  putNumber(arena, address + 56, base.lineage);
  putNumber(arena, address + 64, base.epoch);
}

/** Whether others may be answered with it: it says that a change was taken. */
export function isShared({ kind, errno }: Answer): boolean {
  return isChange(kind) && errno === 0;
}

/** Writes the `index`-th slot that is answered alike into the body at `address`. */
export function putAlike({ view }: Arena, address: number, index: number, slot: number): void {
  view.setUint16(address + index * ALIKE_BYTES, slot, true);
}

/** The `index`-th slot that is answered alike, of the body at `address`. */
export function getAlike({ view }: Arena, address: number, index: number): number {
  return view.getUint16(address + index * ALIKE_BYTES, true);
}

/** Fills in the fields of a frame begun at `address` that says: the request in `slot` has no answer. */
export function putDropped({ u8, view }: Arena, address: number, slot: number): void {
  u8[address + 33] = DROPPED;
  view.setUint16(address + 36, slot, true);
}

/** The slot that a verified frame of an answer is about. */
export function slotOfAnswer({ view }: Arena, address: number): number {
  return view.getUint16(address + 36, true);
}

/** Whether a verified frame says that its request has no answer. */
export function isDropped({ u8 }: Arena, address: number): boolean {
  return u8[address + 33] === DROPPED;
}

/**
 * Reads a verified frame into `answer`, all but replica and data read; its token is the slot. Undefined: it is right. The fields of one
 * that is not are nothing to look at.
 */
export function getAnswer(
  arena: Arena,
  address: number,
  bodyBytes: number,
  answer: Answer,
): Violation | undefined {
  const { u8, view } = arena;
  const kind = kindOfNumber(u8[address + KIND_AT]! - ANSWER);
  if (kind === undefined) return 'PEER_KIND';
  const flags = u8[address + 33]!;
  if (flags > DROPPED) return 'PEER_FIELD';
  answer.kind = kind;
  answer.token = view.getUint16(address + 36, true);
  answer.errno = view.getUint16(address + 38, true);
  answer.session = getNumber(arena, address + 40);
  answer.life = getNumber(arena, address + 48);
  const lineage = getNumber(arena, address + 56);
  const epoch = getNumber(arena, address + 64);
  answer.base = flags === HAS_BASE ? { lineage, epoch } : undefined;
  answer.record = undefined;
  answer.marks = NONE;
  answer.digest = undefined;
  answer.survey = NONE;
  const isSmall =
    answer.session !== TOO_LARGE &&
    answer.life !== TOO_LARGE &&
    lineage !== TOO_LARGE &&
    epoch !== TOO_LARGE;
  if (!isSmall) return 'PEER_FIELD';
  return getBody(arena, { address: address + HEADER_BYTES, bodyBytes }, answer);
}

type Body = { readonly address: number; readonly bodyBytes: number };

function getBody(arena: Arena, body: Body, answer: Answer): Violation | undefined {
  const { address, bodyBytes } = body;
  // Whose length must be, is for who asked for it to say.
  if (answer.kind === 'read' || bodyBytes === 0) return undefined;
  switch (answer.kind) {
    case 'open': {
      if (bodyBytes > RECORD_BYTES_MAX) return 'PEER_FIELD';
      const text = new TextDecoder().decode(arena.u8.subarray(address, address + bodyBytes));
      answer.record = parseRecord(text)?.record;
      return answer.record === undefined ? 'PEER_FIELD' : undefined;
    }
    case 'marks':
      answer.marks = entriesOf(body, MARK_BYTES, (at) => markAt(arena, at));
      return bodyBytes % MARK_BYTES === 0 ? undefined : 'PEER_FIELD';
    case 'survey':
      answer.survey = entriesOf(body, SURVEY_ENTRY_BYTES, (at) => surveyEntryAt(arena, at));
      return bodyBytes % SURVEY_ENTRY_BYTES === 0 && answer.survey.every(isSmallStamp)
        ? undefined
        : 'PEER_FIELD';
    case 'digest':
      if (bodyBytes !== DIGEST_BYTES) return 'PEER_FIELD';
      answer.digest = digestAt(arena, address);
      return isSmallStamp(answer.digest) ? undefined : 'PEER_FIELD';
    default:
      return isShared(answer) && bodyBytes % ALIKE_BYTES === 0 ? undefined : 'PEER_FIELD';
  }
}

function entriesOf<T>(body: Body, entryBytes: number, entryAt: (at: number) => T): T[] {
  const count = Math.floor(body.bodyBytes / entryBytes);
  return Array.from({ length: count }, (_, index) => entryAt(body.address + index * entryBytes));
}

function markAt({ view }: Arena, at: number): Mark {
  return { extent: view.getUint32(at, true), mask: view.getUint32(at + 4, true) };
}

function surveyEntryAt(arena: Arena, at: number): SurveyEntry {
  const { view } = arena;
  return {
    extent: view.getUint32(at, true),
    dataMask: view.getUint16(at + 4, true),
    stamp: getNumber(arena, at + 8),
  };
}

function digestAt(arena: Arena, at: number): Digest {
  const word = (index: number): number => arena.view.getUint32(at + 4 * index, true);
  return {
    words: [word(0), word(1), word(2), word(3)],
    stamp: getNumber(arena, at + 16),
    dataMask: arena.view.getUint16(at + 24, true),
  };
}

function isSmallStamp({ stamp }: { readonly stamp: number }): boolean {
  return stamp !== TOO_LARGE;
}
