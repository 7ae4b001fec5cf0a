/** Reads an engine's io journal (test/hooks/io-journal.ts). Bytes of writes stay in the file until asked for. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ENTRY_BYTES, ENTRY_KINDS } from '../hooks/io-journal.ts';

export type DiskWrite = {
  readonly submittedNs: number;
  /** Infinity while it was in flight when the journal ended, or failed. */
  readonly completedNs: number;
  readonly positionBytes: number;
  readonly lengthBytes: number;
  /** Where its bytes lie in the journal; undefined for zeros. */
  readonly journalOffset?: number;
};
export type DiskFlush = { readonly submittedNs: number; readonly completedNs: number };

type Pending = { submittedNs: number; completedNs: number };

export class JournalReader {
  /** In order of submission. */
  readonly writes: readonly DiskWrite[];
  readonly flushes: readonly DiskFlush[];
  readonly #fd: number;

  /** Reads what the process `pid` did to the file with inode `fileId`. */
  constructor(path: string, of: { readonly pid: number; readonly fileId: number }) {
    this.#fd = openSync(path, 'r');
    const writes: DiskWrite[] = [];
    const flushes: DiskFlush[] = [];
    const pending = new Map<number, Pending>();
    for (const { entry, dataOffset } of this.#entries()) {
      if (entry.readUInt32LE(44) !== of.pid) continue;
      const kind = entry.readUInt32LE(0);
      const token = entry.readUInt32LE(4);
      const timeNs = Number(entry.readBigUInt64LE(8));
      if (kind === ENTRY_KINDS.completed) {
        const ended = pending.get(token);
        // A failed or short write makes nothing certain: it stays "in flight".
        if (ended !== undefined && succeeded(ended, entry.readInt32LE(36)))
          ended.completedNs = timeNs;
        pending.delete(token);
        continue;
      }
      if (Number(entry.readBigUInt64LE(16)) !== of.fileId) continue;
      const times = { submittedNs: timeNs, completedNs: Infinity };
      if (kind === ENTRY_KINDS.flushSubmitted) {
        flushes.push(times);
        pending.set(token, times);
        continue;
      }
      const write = Object.assign(times, {
        positionBytes: Number(entry.readBigUInt64LE(24)),
        lengthBytes: entry.readUInt32LE(32),
        ...(entry.readUInt32LE(40) === 1 ? {} : { journalOffset: dataOffset }),
      });
      writes.push(write);
      pending.set(token, write);
    }
    this.writes = writes;
    this.flushes = flushes;
  }

  /** The bytes of a write, fresh. */
  bytes(write: DiskWrite): Buffer {
    const bytes = Buffer.alloc(write.lengthBytes);
    if (write.journalOffset === undefined) return bytes;
    const count = readSync(this.#fd, bytes, 0, bytes.length, write.journalOffset);
    if (count !== bytes.length) throw new Error('The journal ends inside a write');
    return bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }

  *#entries(): Generator<{ readonly entry: Buffer; readonly dataOffset: number }> {
    const end = fstatSync(this.#fd).size;
    for (let offset = 0; offset + ENTRY_BYTES <= end;) {
      const entry = Buffer.alloc(ENTRY_BYTES);
      readSync(this.#fd, entry, 0, ENTRY_BYTES, offset);
      const dataOffset = offset + ENTRY_BYTES;
      const hasData =
        entry.readUInt32LE(0) === ENTRY_KINDS.writeSubmitted && entry.readUInt32LE(40) === 0;
      offset = dataOffset + (hasData ? entry.readUInt32LE(32) : 0);
      // The engine died while it wrote this entry: it was never submitted.
      if (offset > end) return;
      yield { entry, dataOffset };
    }
  }
}

function succeeded(ended: Pending, result: number): boolean {
  return 'lengthBytes' in ended ? result === ended.lengthBytes : result === 0;
}
