/**
 * What a head asks of a replica, and what it answers. The write path reuses these objects: whoever is given one takes what it
 * needs before it returns. Memory at `address` belongs to the receiver until it answers.
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import type { Base, HeadId, Life, Record, ReplicaId } from './record.ts';

/** An extent: the unit of marks and copies. */
export const EXTENT_BYTES: number = 16 * BLOCK_BYTES;

/** Extents that one answer to a survey is about at most. */
export const SURVEY_EXTENTS = 1024;

export type ChangeKind = 'write' | 'zero' | 'trim' | 'copy';

/** The extents that a range touches, in order. */
export function extentsOf({ offsetBytes, lengthBytes }: RequestBody): number[] {
  const first = Math.floor(offsetBytes / EXTENT_BYTES);
  const end = Math.ceil((offsetBytes + lengthBytes) / EXTENT_BYTES);
  return Array.from({ length: end - first }, (_, index) => first + index);
}

/** What a client asks to be changed. */
export type Change = {
  readonly kind: ChangeKind;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly address: number;
  readonly fua?: boolean;
  readonly allocate?: boolean;
};

/**
 * open, renew and release are about the session; record tells of a set change; durable drops marks and has no answer. The rest is I/O.
 */
export type RequestKind =
  | ChangeKind
  | 'open'
  | 'renew'
  | 'release'
  | 'record'
  | 'durable'
  | 'read'
  | 'flush'
  | 'marks'
  | 'digest'
  | 'survey';

/** It has a number, and leaves a mark. */
export function isChange(kind: string): boolean {
  return kind === 'write' || kind === 'zero' || kind === 'trim' || kind === 'copy';
}

/** What a request is about, as a head keeps it and as it is sent; what a field means depends on the kind. */
export class RequestBody {
  /** Of a change, its number in the life of the head; of `durable`, that below which marks go; of a digest its extent, of marks and a survey the first. */
  number = 0;
  offsetBytes = 0;
  /** Of a survey: it is about as much, or as one answer tells of, if that is less or this is 0. */
  lengthBytes = 0;
  address = 0;
  fua = false;
  /** NBD's NO_HOLE, of a zero. */
  allocate = false;
  /** Of a copy: which blocks of the extent have data; the others become holes. */
  dataMask = 0;
  /** Of a copy: the epoch of the last change of what is copied. */
  stamp = 0;

  takeBody(other: RequestBody): void {
    this.number = other.number;
    this.offsetBytes = other.offsetBytes;
    this.lengthBytes = other.lengthBytes;
    this.address = other.address;
    this.fua = other.fua;
    this.allocate = other.allocate;
    this.dataMask = other.dataMask;
    this.stamp = other.stamp;
  }
}

/** One request. */
export class Request extends RequestBody {
  kind: RequestKind = 'read';
  /** The session it is for: the epoch at which the head opened it, and its number in the life of the head. */
  session = 0;
  /** Position in the session, from 1 without gaps; 0 for `open`. */
  sequence = 0;
  /** The head's name for it; the answer carries it. */
  token = 0;
  /** Of a change, its epoch; of `durable`, that below which marks go. */
  epoch = 0;
  head: HeadId | undefined;
  record: Record | undefined;
}

/** Blocks of an extent that some member may not hold durably. */
export type Mark = {
  readonly extent: number;
  readonly mask: number;
};

export type Digest = {
  /** 128 bits over versions, masks and bytes, as unsigned words. */
  readonly words: readonly [number, number, number, number];
  readonly dataMask: number;
  /** Epoch of the last change. */
  readonly stamp: number;
};

/** An extent that has versions. */
export type SurveyEntry = {
  readonly extent: number;
  /** Epoch of its last change. */
  readonly stamp: number;
  readonly dataMask: number;
};

/** The answer to one request, of the same kind. */
export class Answer {
  kind: RequestKind = 'read';
  replica: ReplicaId = '';
  session = 0;
  token = 0;
  errno = 0;
  life: Life = 0;
  /** Of an `open` that was refused: the record that the replica saw. */
  record: Record | undefined;
  marks: readonly Mark[] = [];
  digest: Digest | undefined;
  survey: readonly SurveyEntry[] = [];
  /** Of an `open`: up to where the replica holds everything. */
  base: Base | undefined;
}
