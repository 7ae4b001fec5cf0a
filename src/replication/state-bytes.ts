/**
 * What a replica keeps of its volume, as the bytes that its drive keeps for it (docs/drive-format.md gives a record of the volume table 436
 * of them): a version, then the fields in the order below. Numbers are LEB128; a text is its length, doubled, and its bytes in UTF-8, or,
 * with the lowest bit set, half as many for the pairs of hex digits that ids are made of.
 */

import { Fault } from '../model/errors.ts';
import type { Record, ReplicaId, Life } from './record.ts';
import type { ReplicaState } from './replica.ts';

const VERSION = 1;
const HEX = /^(?:[0-9a-f]{2})+$/;

/** The bytes of `state`; none for a replica that was never opened. */
export function formatState({ seen, base }: ReplicaState): Uint8Array {
  if (seen === undefined) return new Uint8Array();
  const writer = new Writer();
  writer.number(VERSION);
  writer.number(seen.lineage);
  writer.number(seen.epoch);
  writer.text(seen.writer);
  writer.number(seen.head === undefined ? 0 : 1);
  if (seen.head !== undefined) {
    writer.text(seen.head.engine);
    writer.number(seen.head.start);
    writer.number(seen.head.attempt);
  }
  writer.number(seen.attachment === undefined ? 0 : 1);
  if (seen.attachment !== undefined) {
    writer.text(seen.attachment.attachId);
    writer.text(seen.attachment.boot);
  }
  writer.number(seen.members.size);
  for (const [replica, life] of seen.members) {
    writer.text(replica);
    writer.number(life);
  }
  writer.number(seen.minimum);
  writer.number(seen.sizeBytes);
  writer.number(base === undefined ? 0 : 1);
  if (base !== undefined) {
    writer.number(base.lineage);
    writer.number(base.epoch);
  }
  return writer.bytes();
}

/** {@link formatState}'s inverse. Throws a Fault REPLICA_STATE for what another build wrote, or nobody. */
export function parseState(bytes: Uint8Array): ReplicaState {
  if (bytes.length === 0) return { seen: undefined, base: undefined };
  const reader = new Reader(bytes);
  const version = reader.number();
  if (version !== VERSION)
    throw broken(`it has version ${version}, and this build reads ${VERSION}`);
  const seen: Record = {
    lineage: reader.number(),
    epoch: reader.number(),
    writer: reader.text(),
    head: reader.optional(() => ({
      engine: reader.text(),
      start: reader.number(),
      attempt: reader.number(),
    })),
    attachment: reader.optional(() => ({ attachId: reader.text(), boot: reader.text() })),
    members: reader.members(),
    minimum: reader.number(),
    sizeBytes: reader.number(),
  };
  const base = reader.optional(() => ({ lineage: reader.number(), epoch: reader.number() }));
  reader.end();
  return { seen, base };
}

function broken(problem: string): Fault {
  return new Fault('REPLICA_STATE', { problem });
}

class Writer {
  readonly #bytes: number[] = [];

  number(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#bytes.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.#bytes.push(rest);
  }

  text(text: string): void {
    const isHex = HEX.test(text);
    const bytes = Buffer.from(text, isHex ? 'hex' : 'utf8');
    this.number(bytes.length * 2 + (isHex ? 1 : 0));
    this.#bytes.push(...bytes);
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.#bytes);
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  number(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) throw broken('it ends in its middle');
      value += (byte & 127) * scale;
      if (!Number.isSafeInteger(value)) throw broken('it has a number that is none');
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  text(): string {
    const length = this.number();
    const count = Math.floor(length / 2);
    const bytes = this.#bytes.subarray(this.#at, this.#at + count);
    if (bytes.length < count) throw broken('it ends in its middle');
    this.#at += count;
    return Buffer.from(bytes).toString(length % 2 === 1 ? 'hex' : 'utf8');
  }

  optional<T>(read: () => T): T | undefined {
    return this.number() === 0 ? undefined : read();
  }

  members(): Map<ReplicaId, Life> {
    const members = new Map<ReplicaId, Life>();
    for (let left = this.number(); left > 0; left--) members.set(this.text(), this.number());
    return members;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw broken('there is more of it than it should have');
  }
}
