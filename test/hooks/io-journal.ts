/**
 * The journal of what an engine did to its disk: one entry for each submission and completion, with the machine-wide
 * monotonic clock, so that it can be laid beside what a client saw.
 *
 *     entry, 48 bytes: kind u32 | token u32 | timeNs u64 | fileId u64 | positionBytes u64 | lengthBytes u32 | result i32
 *                      | zeros u32 | pid u32
 *     a submitted write is followed by its bytes, unless `zeros` is 1
 */

import { fstatSync, openSync, writeSync } from 'node:fs';
import type { DiskCall } from './interpose-io.ts';

export const ENTRY_BYTES = 48;
export const ENTRY_KINDS = { writeSubmitted: 1, flushSubmitted: 2, completed: 3 } as const;

export class JournalWriter {
  readonly #fd: number;
  #token = 0;

  constructor(path: string) {
    this.#fd = openSync(path, 'a', 0o600);
  }

  submitted(call: DiskCall): number {
    const token = ++this.#token;
    const entry = this.#entry(token);
    // The inode tells the drive from other files: descriptors are reused, paths may be links.
    entry.writeBigUInt64LE(BigInt(fstatSync(call.fd).ino), 16);
    if (call.kind === 'flush') {
      entry.writeUInt32LE(ENTRY_KINDS.flushSubmitted, 0);
      this.#append(entry);
      return token;
    }
    const zeros = isZero(call.bytes);
    entry.writeUInt32LE(ENTRY_KINDS.writeSubmitted, 0);
    entry.writeBigUInt64LE(BigInt(call.positionBytes), 24);
    entry.writeUInt32LE(call.bytes.length, 32);
    entry.writeUInt32LE(zeros ? 1 : 0, 40);
    this.#append(zeros ? entry : Buffer.concat([entry, call.bytes]));
    return token;
  }

  completed(token: number, result: number): void {
    const entry = this.#entry(token);
    entry.writeUInt32LE(ENTRY_KINDS.completed, 0);
    entry.writeInt32LE(result, 36);
    this.#append(entry);
  }

  #entry(token: number): Buffer {
    const entry = Buffer.alloc(ENTRY_BYTES);
    entry.writeUInt32LE(token, 4);
    entry.writeBigUInt64LE(process.hrtime.bigint(), 8);
    entry.writeUInt32LE(process.pid, 44);
    return entry;
  }

  /** One write call for each entry: a killed engine leaves whole entries, all but the last one. */
  #append(bytes: Buffer): void {
    let written = 0;
    while (written < bytes.length) written += writeSync(this.#fd, bytes, written);
  }
}

function isZero(bytes: Buffer): boolean {
  return (
    bytes.length === 0 ||
    (bytes[0] === 0 && bytes.compare(bytes, 1, bytes.length, 0, bytes.length - 1) === 0)
  );
}
