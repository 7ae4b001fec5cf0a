/**
 * Writers on the NBD socket: each fills a region of its own, block after block, each block with content of its own. A
 * write that was acknowledged goes to the journal, and is on media there, before the writer's next one begins.
 */

import { createHash } from 'node:crypto';
import type { CommitClock } from './commit-clock.ts';
import { type Comparison, compare } from './comparison.ts';
import type { Entry, Journal } from './journal.ts';
import { NbdConnection } from './nbd-connection.ts';

export const WRITER_COUNT = 4;
const BLOCK_BYTES = 4096;
/** Blocks that are compared at once. */
const READ_BLOCKS = 256;

export class SocketLoad {
  readonly #uri: string;
  readonly #regionBlocks: number;
  readonly #journal: Journal;
  readonly #clock: CommitClock;
  #stopping = false;

  constructor(
    volume: { readonly uri: string; readonly sizeBytes: number },
    journal: Journal,
    clock: CommitClock,
  ) {
    this.#uri = volume.uri;
    this.#regionBlocks = regionBlocks(volume.sizeBytes);
    this.#journal = journal;
    this.#clock = clock;
  }

  /** Writes until {@link stop}. Rejects when a write fails: none may. */
  async run(): Promise<void> {
    const writers = Array.from({ length: WRITER_COUNT }, (_, index) => index + 1);
    await Promise.all(writers.map(async (writer) => await this.#write(writer)));
  }

  stop(): void {
    this.#stopping = true;
  }

  async #write(writer: number): Promise<void> {
    const connection = new NbdConnection(this.#uri);
    for (let sequence = this.#journal.startOf(writer); !this.#stopping; sequence++) {
      if (sequence > this.#regionBlocks) throw new Error('The volume is full before its time');
      const entry = { writer, sequence };
      await connection.write(offsetOf(entry, this.#regionBlocks), content(entry));
      this.#clock.note();
      await this.#journal.add(entry);
    }
    connection.close();
  }
}

/** Compares the journal with what the volume holds. */
export async function compareVolume(
  volume: { readonly uri: string; readonly sizeBytes: number },
  journal: readonly Entry[],
): Promise<Comparison> {
  const blocks = regionBlocks(volume.sizeBytes);
  const connection = new NbdConnection(volume.uri);
  const intact = new Set<string>();
  for (let writer = 1; writer <= WRITER_COUNT; writer++) {
    const sequences = journal.filter((entry) => entry.writer === writer).map((e) => e.sequence);
    const last = sequences.reduce((a, b) => Math.max(a, b), 0);
    for (let first = 1; first <= last; first += READ_BLOCKS) {
      const count = Math.min(READ_BLOCKS, last - first + 1);
      const offsetBytes = offsetOf({ writer, sequence: first }, blocks);
      const bytes = await connection.read(offsetBytes, count * BLOCK_BYTES);
      for (let i = 0; i < count; i++) {
        const entry = { writer, sequence: first + i };
        const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
        if (block.equals(content(entry))) intact.add(`${writer} ${entry.sequence}`);
      }
    }
  }
  connection.close();
  return compare(journal, ({ writer, sequence }) => intact.has(`${writer} ${sequence}`));
}

const regionBlocks = (sizeBytes: number): number =>
  Math.floor(sizeBytes / BLOCK_BYTES / WRITER_COUNT);

function offsetOf({ writer, sequence }: Entry, blocks: number): number {
  return ((writer - 1) * blocks + sequence - 1) * BLOCK_BYTES;
}

/** A block that no other place and no other moment has. */
function content({ writer, sequence }: Entry): Buffer {
  const digest = createHash('sha256').update(`${writer} ${sequence}`).digest();
  return Buffer.alloc(BLOCK_BYTES, digest);
}
