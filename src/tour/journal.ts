/**
 * The tour's own record of what it was promised: one line for each commit that returned, on media before the next
 * begins. It lies outside of the volume, so that nothing that happens to the volume can happen to it.
 *
 *     WRITER SEQUENCE\n
 */

import { type FileHandle, open, readFile } from 'node:fs/promises';

export type Entry = { readonly writer: number; readonly sequence: number };

export class Journal {
  readonly #file: FileHandle;
  #pending = '';
  /** The flush that takes what is pending now; it begins when the one under way has ended. */
  #next: Promise<void> | undefined;
  #current: Promise<void> = Promise.resolve();
  readonly #last = new Map<number, number>();
  readonly #starts = new Map<number, number>();

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  /** Begins a new journal at `path`, in place of an older one. */
  static async create(path: string): Promise<Journal> {
    return new Journal(await open(path, 'w', 0o600));
  }

  /** Adds an entry. Resolves when it is on media; entries that wait together share one flush. */
  async add({ writer, sequence }: Entry): Promise<void> {
    this.#last.set(writer, sequence);
    this.#pending += `${writer} ${sequence}\n`;
    this.#next ??= this.#flushAfter(this.#current);
    await this.#next;
  }

  /**
   * The number that a writer begins with: from 1, and after a crash one that cannot be there. The one under way then may be there or not: it
   * follows the last that returned, or is the one that the writer began with.
   */
  startOf(writer: number): number {
    const start = Math.max(this.#last.get(writer) ?? -1, this.#starts.get(writer) ?? -1) + 2;
    this.#starts.set(writer, start);
    return start;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #flushAfter(before: Promise<void>): Promise<void> {
    await before;
    this.#current = this.#next ?? before;
    this.#next = undefined;
    const lines = this.#pending;
    this.#pending = '';
    await this.#file.appendFile(lines);
    await this.#file.datasync();
  }
}

/** Reads a journal back. */
export async function readJournal(path: string): Promise<Entry[]> {
  const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  return lines.map((line) => {
    const [writer = Number.NaN, sequence = Number.NaN] = line.split(' ').map(Number);
    return { writer, sequence };
  });
}
