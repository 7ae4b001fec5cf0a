/**
 * The reference store: volumes at fixed places, written in place, one range gate. Too simple for a product (no checksums, no
 * snapshots, no reuse of space) and right under the simulator's rules, so that what the checkers say of it is known.
 *
 *     | table page 0 | table page 1 | volume | volume | ...        a table page: sequence, count, entries, sum
 *
 * Each {@link RawFlaw} breaks it in one way: the checkers' own canaries.
 */

import type { Env } from '../src/env/env.ts';
import type { Io, Port } from '../src/env/io.ts';
import type { Arena } from '../src/lib/arena.ts';
import { assert } from '../src/lib/assert.ts';
import type { BlockTarget, OnDone } from '../src/model/block-target.ts';
import { EIO, ENOSPC } from '../src/model/errno.ts';
import { Fault } from '../src/model/errors.ts';
import type { ListedVolume, OpenStore, StoreUnderTest } from './store-under-test.ts';

/** Ways to break it. */
export const RAW_FLAWS = [
  'none',
  'acknowledges-early',
  'flush-does-nothing',
  'trim-does-nothing',
  'no-gate',
  'copies-late',
  'volumes-overlap',
  'no-lock',
  'no-first-flush',
  'forgets-volumes',
  'failed-write-destroys',
] as const;
export type RawFlaw = (typeof RAW_FLAWS)[number];

const PAGE = 4096;
const SECTOR = 512;
const SLOTS = 64;
const SLOT_BYTES = 256 * 1024 + 2 * SECTOR;
const ENTRY_WORDS = 8;

type Entry = { readonly uuid: string; readonly start: number; sizeBytes: number };

export function rawStore(flaw: RawFlaw): StoreUnderTest {
  return {
    name: `raw store (flaw: ${flaw})`,
    hasSnapshots: false,
    hasResize: false,
    hasReplicas: false,
    hasLog: false,
    survivesTearing: false,
    format: async (env, { path, geometry }) => {
      const file = await env.files.open(path, { create: true });
      await env.files.allocate(file.fd, { sizeBytes: geometry.sizeBytes + 2 ** 26, sparse: true });
      await env.files.close(file.fd);
    },
    open: (env, { path, arena }) => RawStore.open(env, { path, arena, flaw }),
    check: () => Promise.resolve({ findings: [] }),
  };
}

/** One request: the sectors it holds the gate for, and its steps. */
type Job = {
  readonly first: number;
  readonly end: number;
  readonly run: (slot: number) => Promise<number>;
  readonly done: (errno: number) => void;
};

class RawStore implements OpenStore {
  readonly #io: Io;
  readonly #fd: number;
  readonly #flaw: RawFlaw;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #slots: number;
  readonly #tablePage: number;
  #tableWrite: Promise<void> = Promise.resolve();
  readonly #freeSlots: number[] = [];
  readonly #port: Port;
  readonly #calls: ((result: number) => void)[] = [];
  readonly #freeCalls: number[] = [];
  readonly #files: Env['files'];
  readonly #sizeBytes: number;
  #table: Entry[] = [];
  #sequence = 0;
  #end = 2 * PAGE;
  #queue: Job[] = [];
  readonly #active = new Set<Job>();
  /** Pages (by position) that a failed write left without content: for the flaw. */
  readonly #destroyed = new Set<number>();

  static async open(
    env: Env,
    options: { readonly path: string; readonly arena: Arena; readonly flaw: RawFlaw },
  ): Promise<RawStore> {
    const { path, arena, flaw } = options;
    const exclusive = flaw !== 'no-lock';
    const file = await env.files.open(path, { exclusive }).catch((cause: unknown) => {
      throw new Fault('DRIVE_BUSY', { path }, cause);
    });
    const store = new RawStore(env, { arena, flaw, fd: file.fd, sizeBytes: file.sizeBytes });
    if (flaw !== 'no-first-flush') await store.#flush();
    await store.#readTable();
    return store;
  }

  private constructor(
    env: Env,
    options: {
      readonly arena: Arena;
      readonly flaw: RawFlaw;
      readonly fd: number;
      readonly sizeBytes: number;
    },
  ) {
    this.#io = env.io;
    this.#files = env.files;
    this.#fd = options.fd;
    this.#flaw = options.flaw;
    this.#sizeBytes = options.sizeBytes;
    this.#bytes = options.arena.u8;
    this.#words = options.arena.u32;
    this.#slots = options.arena.reserve(4 * SLOT_BYTES, PAGE);
    this.#tablePage = options.arena.reserve(PAGE, PAGE);
    for (let slot = 0; slot < 4; slot++) this.#freeSlots.push(this.#slots + slot * SLOT_BYTES);
    this.#port = env.io.port((index, result) => {
      const resolve = this.#calls[index];
      this.#freeCalls.push(index);
      env.io.yieldTurn();
      resolve?.(result);
    });
  }

  #call(submit: (index: number) => void): Promise<number> {
    return new Promise((resolve) => {
      const index = this.#freeCalls.pop() ?? this.#calls.length;
      this.#calls[index] = resolve;
      submit(index);
    });
  }

  #flush(): Promise<number> {
    if (this.#flaw === 'flush-does-nothing')
      return this.#call((i) => this.#io.timer(this.#port, i, 1));
    return this.#call((index) => this.#io.flush(this.#port, index, this.#fd));
  }

  async #transfer(
    kind: 'read' | 'write',
    position: number,
    address: number,
    length: number,
  ): Promise<number> {
    for (let done = 0; done < length;) {
      const at = done;
      const result = await this.#call((index) => {
        this.#io[kind](this.#port, index, this.#fd, position + at, address + at, length - at);
      });
      // A drive that is full to the host is a fault to the client.
      if (result < 0) return result === -ENOSPC ? EIO : -result;
      if (result === 0) return EIO;
      done += result;
    }
    return 0;
  }

  async #readTable(): Promise<void> {
    const address = this.#tablePage;
    for (const page of [0, 1]) {
      assert((await this.#transfer('read', page * PAGE, address, PAGE)) === 0, 'the table reads');
      const words = this.#words.subarray(address / 4, address / 4 + PAGE / 4);
      const sum = words.subarray(0, 1023).reduce((s, w) => (Math.imul(s, 31) + w) >>> 0, 7);
      const sequence = words[0] ?? 0;
      if (sum !== words[1023] || sequence <= this.#sequence) continue;
      this.#sequence = sequence;
      this.#end = (words[2] ?? 0) * PAGE;
      this.#table = Array.from({ length: words[1] ?? 0 }, (_, i) => {
        const at = 3 + i * ENTRY_WORDS;
        const hex = [...words.subarray(at, at + 4)].map((w) => w.toString(16).padStart(8, '0'));
        return {
          uuid: hex.join(''),
          start: (words[at + 4] ?? 0) * PAGE,
          sizeBytes: (words[at + 5] ?? 0) * PAGE,
        };
      });
    }
  }

  #writeTable(): Promise<void> {
    this.#tableWrite = this.#tableWrite.then(() => this.#writeTableNow());
    return this.#tableWrite;
  }

  async #writeTableNow(): Promise<void> {
    const address = this.#tablePage;
    const words = this.#words.subarray(address / 4, address / 4 + PAGE / 4);
    words.fill(0);
    words.set([++this.#sequence, this.#table.length, this.#end / PAGE]);
    this.#table.forEach((entry, i) => {
      const hex = [0, 8, 16, 24].map((at) => Number.parseInt(entry.uuid.slice(at, at + 8), 16));
      words.set([...hex, entry.start / PAGE, entry.sizeBytes / PAGE], 3 + i * ENTRY_WORDS);
    });
    words[1023] = words.subarray(0, 1023).reduce((s, w) => (Math.imul(s, 31) + w) >>> 0, 7);
    await this.#transfer('write', (this.#sequence % 2) * PAGE, address, PAGE);
    if (this.#flaw !== 'forgets-volumes') await this.#flush();
  }

  openReplica(): never {
    throw new Error('the reference store has no replicas');
  }

  life(): number {
    return 0;
  }

  async createVolume(options: {
    readonly uuid: string;
    readonly sizeBytes: number;
  }): Promise<void> {
    const start = this.#end;
    if (start + options.sizeBytes > this.#sizeBytes) throw new Fault('DRIVE_FULL');
    this.#table.push({ ...options, start });
    this.#end += this.#flaw === 'volumes-overlap' ? options.sizeBytes - PAGE : options.sizeBytes;
    await this.#writeTable();
  }

  async deleteVolume(uuid: string): Promise<void> {
    this.#table = this.#table.filter((entry) => entry.uuid !== uuid);
    await this.#writeTable();
  }

  resizeVolume(): Promise<void> {
    throw new Error('the reference store does not resize');
  }
  snapshot(): Promise<number> {
    throw new Error('the reference store has no snapshots');
  }
  deleteSnapshot(): Promise<void> {
    throw new Error('the reference store has no snapshots');
  }
  openSnapshot(): BlockTarget {
    throw new Error('the reference store has no snapshots');
  }

  listVolumes(): ListedVolume[] {
    return this.#table.map((entry) => ({ ...entry, snapshots: [] }));
  }

  impairment(): undefined {
    return undefined;
  }

  async close(): Promise<void> {
    await this.#flush();
    await this.#files.close(this.#fd);
  }

  openTarget(uuid: string, onDone: OnDone): BlockTarget {
    const entry = this.#table.find((candidate) => candidate.uuid === uuid);
    assert(entry !== undefined, 'the volume exists');
    const submit = (token: number, offset: number, length: number, run: Job['run']): void => {
      const first = Math.floor((entry.start + offset) / SECTOR);
      const end = Math.ceil((entry.start + offset + length) / SECTOR);
      this.#queue.push({ first, end, run, done: (errno) => onDone(token, errno) });
      this.#io.timer(this.#port, this.#pumpCall(), 1);
    };
    return {
      sizeBytes: entry.sizeBytes,
      requestCountMax: SLOTS,
      read: (token, firstBlock, blockCount, address) => {
        const offset = firstBlock * PAGE;
        const length = blockCount * PAGE;
        submit(token, offset, length, () => {
          const isDestroyed = pagesOf(entry.start + offset, length).some((page) =>
            this.#destroyed.has(page),
          );
          if (isDestroyed) return Promise.resolve(EIO);
          return this.#transfer('read', entry.start + offset, address, length);
        });
      },
      write: (token, offset, length, address, fua) =>
        submit(token, offset, length, async (slot) => {
          const errno = await this.#patch(slot, {
            position: entry.start + offset,
            length,
            address,
          });
          this.#note(errno, pagesOf(entry.start + offset, length));
          return errno === 0 && fua ? Math.abs(await this.#flush()) : errno;
        }),
      zero: (token, offset, length, { fua }) =>
        submit(token, offset, length, (slot) =>
          this.#zero(slot, entry.start + offset, length, fua),
        ),
      trim: (token, offset, length, fua) => {
        const from = Math.ceil(offset / PAGE) * PAGE;
        const size = Math.max(0, Math.floor((offset + length) / PAGE) * PAGE - from);
        const nothing = size === 0 || this.#flaw === 'trim-does-nothing';
        submit(token, from, size, (slot) =>
          nothing ? Promise.resolve(0) : this.#zero(slot, entry.start + from, size, fua),
        );
      },
      flush: (token) => submit(token, 0, 0, async () => Math.abs(await this.#flush())),
      status: () => 0,
    };
  }

  #note(errno: number, pages: readonly number[]): void {
    if (this.#flaw !== 'failed-write-destroys') return;
    for (const page of pages) {
      if (errno === 0) this.#destroyed.delete(page);
      else this.#destroyed.add(page);
    }
  }

  /** A timer's index that pumps the queue: requests never end inside their call. */
  #pumpCall(): number {
    const index = this.#freeCalls.pop() ?? this.#calls.length;
    this.#calls[index] = () => this.#pump();
    return index;
  }

  #pump(): void {
    const waiting: Job[] = [];
    for (const job of this.#queue) {
      const blocked = (other: Job): boolean => other.first < job.end && job.first < other.end;
      const gated =
        this.#flaw !== 'no-gate' && ([...this.#active].some(blocked) || waiting.some(blocked));
      const slot = gated ? undefined : this.#freeSlots.pop();
      if (slot === undefined) waiting.push(job);
      else void this.#run(job, slot);
    }
    this.#queue = waiting;
  }

  async #run(job: Job, slot: number): Promise<void> {
    this.#active.add(job);
    if (this.#flaw === 'acknowledges-early') {
      void job.run(slot).then(() => this.#finish(job, slot));
      await this.#call((index) => this.#io.timer(this.#port, index, 1));
      job.done(0);
      return;
    }
    const errno = await job.run(slot);
    this.#finish(job, slot);
    job.done(errno);
  }

  #finish(job: Job, slot: number): void {
    this.#active.delete(job);
    this.#freeSlots.push(slot);
    this.#pump();
  }

  async #patch(
    slot: number,
    from: { readonly position: number; readonly length: number; readonly address: number },
  ): Promise<number> {
    const start = Math.floor(from.position / SECTOR) * SECTOR;
    const end = Math.ceil((from.position + from.length) / SECTOR) * SECTOR;
    const partial = start !== from.position || end !== from.position + from.length;
    const errno = partial ? await this.#transfer('read', start, slot, end - start) : 0;
    if (errno !== 0) return errno;
    const copy = (): void => {
      this.#bytes.copyWithin(
        slot + from.position - start,
        from.address,
        from.address + from.length,
      );
    };
    copy();
    const done = this.#transfer('write', start, slot, end - start);
    if (this.#flaw === 'copies-late') this.#bytes.fill(0x77, slot, slot + SECTOR);
    return done;
  }

  async #zero(slot: number, position: number, length: number, fua: boolean): Promise<number> {
    for (let done = 0; done < length;) {
      const count = Math.min(length - done, SLOT_BYTES - 2 * SECTOR);
      const start = Math.floor((position + done) / SECTOR) * SECTOR;
      const end = Math.ceil((position + done + count) / SECTOR) * SECTOR;
      const read = await this.#transfer('read', start, slot, end - start);
      if (read !== 0) return read;
      const at = slot + position + done - start;
      this.#bytes.fill(0, at, at + count);
      const errno = await this.#transfer('write', start, slot, end - start);
      if (errno !== 0) return errno;
      done += count;
    }
    return fua ? Math.abs(await this.#flush()) : 0;
  }
}

/** The pages that a range touches. */
function pagesOf(position: number, length: number): number[] {
  const first = Math.floor(position / PAGE);
  const end = Math.ceil((position + length) / PAGE);
  return Array.from({ length: end - first }, (_, index) => first + index);
}
