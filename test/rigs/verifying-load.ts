/**
 * A load that knows what the volume must hold: many requests in flight over one connection, reconnecting when the server
 * dies, sending again what was not answered, and comparing everything after each death. Nothing in it waits for a flush:
 * SIGKILL of the engine must lose nothing acknowledged, flushed or not.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Prng } from '../../src/lib/prng.ts';
import type { ChangeHistory } from './change-history.ts';
import { ConnectionLost, NbdConnection, type Request } from './nbd-connection.ts';
import { type Mismatch, SectorModel } from './sector-model.ts';
import { type SectorRange, SECTOR_BYTES, stampedBytes } from './stamps.ts';

export type LoadOptions = {
  readonly random: Prng;
  readonly run: number;
  /** Asked before each connection: an engine may come back at another address. */
  readonly uri: () => Promise<string>;
  readonly volumeBytes: number;
  readonly depth: number;
  /** A server that is not back after this long has failed. */
  readonly reconnectLimitMs: number;
  /** Told of every change and flush, for judging a power cut later. */
  readonly history?: ChangeHistory;
  /** Called with each answer. */
  readonly onReply?: () => void;
};

export type LoadCounts = {
  readonly writes: number;
  readonly trims: number;
  readonly zeroes: number;
  readonly flushes: number;
  readonly readsCompared: number;
  readonly resent: number;
  readonly sectorsCompared: number;
};

const BLOCK_SECTORS = 8;
/** Most requests of the load reach from one sector to 64 KiB; a verification reads 1 MiB at a time. */
const REQUEST_SECTORS_MAX = 128;
/** One in so many is longer: the store takes 256 KiB at once, and what is longer in pieces. */
const LONG_EVERY = 64;
const LONG_SECTORS_MAX = 2048;
const VERIFY_SECTORS = 2048;
const VERIFY_DEPTH = 4;
/** Between two reads of one who watches. */
const WATCH_MS = 2;

type Change = { readonly range: SectorRange; readonly version: number; readonly request: Request };
type MutableCounts = { -readonly [Name in keyof LoadCounts]: LoadCounts[Name] };

export class VerifyingLoad {
  readonly mismatches: Mismatch[] = [];
  /** Milliseconds on performance.now() of the first reply after each reconnection. */
  readonly servedAgainAtMs: number[] = [];
  readonly counts: MutableCounts = {
    writes: 0,
    trims: 0,
    zeroes: 0,
    flushes: 0,
    readsCompared: 0,
    resent: 0,
    sectorsCompared: 0,
  };
  readonly #options: LoadOptions;
  readonly #model: SectorModel;
  #connection: Promise<NbdConnection>;
  #version = 0;
  #stopping = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    const sectorCount = options.volumeBytes / SECTOR_BYTES;
    this.#model = new SectorModel({ run: options.run, sectorCount });
    this.#connection = options.uri().then(async (uri) => await NbdConnection.open(uri));
  }

  /** Runs until {@link stop}, then until everything is answered. Rejects when the server stays away or refuses. */
  async run(): Promise<void> {
    this.#stopping = false;
    const slots = Array.from({ length: this.#options.depth }, () => this.#slot());
    try {
      await Promise.all(slots);
    } finally {
      this.#stopping = true;
      await Promise.allSettled(slots);
    }
  }

  stop(): void {
    this.#stopping = true;
  }

  /** Reads the whole volume and compares. Only while nothing is in flight. */
  async verifyAll(): Promise<void> {
    let next = 0;
    const reader = async (): Promise<void> => {
      while (next < this.#model.sectorCount) {
        const firstSector = next;
        const sectorCount = Math.min(VERIFY_SECTORS, this.#model.sectorCount - firstSector);
        next += sectorCount;
        await this.#readAndCompare({ firstSector, sectorCount });
      }
    };
    await Promise.all(Array.from({ length: VERIFY_DEPTH }, reader));
  }

  /** Gives the connection up, as the client's machine would by dying, for one to where the volume is by now. */
  reconnect(): void {
    void this.#connection.then(
      (connection) => connection.destroy(),
      () => undefined,
    );
    this.#connection = this.#reconnect();
  }

  /**
   * Reads over another connection, beside the load and after it has given its own up, until that connection ends: what is answered must
   * not be older than what was acknowledged when it was asked, by whoever serves the volume. Resolves with how many reads were answered.
   */
  async watch(connection: NbdConnection): Promise<number> {
    for (let count = 0; ; count++) {
      const range = this.#range(BLOCK_SECTORS);
      const before = this.#model.versions(range);
      const offsetBytes = range.firstSector * SECTOR_BYTES;
      const lengthBytes = range.sectorCount * SECTOR_BYTES;
      try {
        const bytes = await connection.request({ kind: 'read', offsetBytes, lengthBytes });
        this.mismatches.push(...this.#model.older(range.firstSector, bytes, before));
      } catch {
        connection.destroy();
        return count;
      }
      await sleep(WATCH_MS);
    }
  }

  async close(): Promise<void> {
    (await this.#connection).close();
  }

  async #slot(): Promise<void> {
    const { random } = this.#options;
    while (!this.#stopping && this.mismatches.length === 0) {
      const dice = random.below(100);
      if (dice < 2) {
        const flush = this.#options.history?.flushSent();
        await this.#perform({ kind: 'flush' });
        flush?.acknowledged();
        this.counts.flushes++;
        continue;
      }
      const range = this.#range(dice < 60 ? 1 : BLOCK_SECTORS);
      if (!this.#model.tryClaim(range)) {
        // Another slot has a part of it. Give its reply a chance before drawing again.
        await new Promise((resolve) => setImmediate(resolve));
        continue;
      }
      if (dice < 25) await this.#readAndCompare(range);
      else await this.#change(this.#makeChange(dice, range));
      this.#model.release(range);
    }
  }

  /** Half of the ranges fall into one sixteenth of the volume: overwrites of fresh data are where stores go wrong. */
  #range(alignSectors: number): SectorRange {
    const { random } = this.#options;
    const all = this.#model.sectorCount;
    const reach = random.below(2) === 0 ? all : Math.max(REQUEST_SECTORS_MAX, Math.floor(all / 16));
    const isLong = random.below(LONG_EVERY) === 0;
    const units = (isLong ? LONG_SECTORS_MAX : REQUEST_SECTORS_MAX) / alignSectors;
    const wanted = isLong || random.below(4) === 0 ? 1 + random.below(units) : 1 + random.below(2);
    const count = Math.min(wanted * alignSectors, reach);
    const first = Math.floor(random.below(reach - count + 1) / alignSectors) * alignSectors;
    return { firstSector: first, sectorCount: count };
  }

  #makeChange(dice: number, range: SectorRange): Change {
    const offsetBytes = range.firstSector * SECTOR_BYTES;
    const lengthBytes = range.sectorCount * SECTOR_BYTES;
    // Trims are of whole blocks, where "reads as zeros afterwards" is promised.
    if (dice >= 96) {
      this.counts.trims++;
      return { range, version: 0, request: { kind: 'trim', offsetBytes, lengthBytes } };
    }
    if (dice >= 92) {
      this.counts.zeroes++;
      return { range, version: 0, request: { kind: 'zero', offsetBytes, lengthBytes } };
    }
    this.counts.writes++;
    const version = ++this.#version;
    const data = stampedBytes(this.#model.run, range, version);
    const fua = this.#options.random.below(20) === 0;
    return { range, version, request: { kind: 'write', offsetBytes, data, fua } };
  }

  async #change(change: Change): Promise<void> {
    const { range, version, request } = change;
    this.#model.sent(range, version);
    const recorded = this.#options.history?.changeSent(range, version);
    await this.#perform(request, range);
    recorded?.acknowledged({ durable: request.kind === 'write' && request.fua });
    this.#model.acknowledged(range, version);
  }

  async #readAndCompare(range: SectorRange): Promise<void> {
    const offsetBytes = range.firstSector * SECTOR_BYTES;
    const lengthBytes = range.sectorCount * SECTOR_BYTES;
    const bytes = await this.#perform({ kind: 'read', offsetBytes, lengthBytes });
    this.#compare(range, bytes);
  }

  #compare(range: SectorRange, bytes: Buffer): void {
    this.counts.readsCompared++;
    this.counts.sectorsCompared += range.sectorCount;
    this.mismatches.push(...this.#model.mismatches(range.firstSector, bytes));
  }

  /** Sends until there is an answer. `changing`: the range that an unanswered change may or may not have changed. */
  async #perform(request: Request, changing?: SectorRange): Promise<Buffer> {
    for (;;) {
      const used = this.#connection;
      try {
        const answer = await (await used).request(request);
        this.#options.onReply?.();
        return answer;
      } catch (error) {
        // What a session answers that was given up concerns nobody.
        if (!(error instanceof ConnectionLost) && this.#connection === used) throw error;
        // The first of the slots to notice replaces the connection for all.
        if (this.#connection === used) this.#connection = this.#reconnect();
      }
      // What the dead engine left is looked at before the request is repeated: old or new, sector by sector, or wrong.
      if (changing !== undefined) await this.#lookBefore(changing);
      this.counts.resent++;
    }
  }

  async #lookBefore(range: SectorRange): Promise<void> {
    const offsetBytes = range.firstSector * SECTOR_BYTES;
    const lengthBytes = range.sectorCount * SECTOR_BYTES;
    this.#compare(range, await this.#perform({ kind: 'read', offsetBytes, lengthBytes }));
  }

  async #reconnect(): Promise<NbdConnection> {
    const endMs = performance.now() + this.#options.reconnectLimitMs;
    for (;;) {
      try {
        const connection = await NbdConnection.open(await this.#options.uri());
        await connection.request({ kind: 'read', offsetBytes: 0, lengthBytes: 4096 });
        this.servedAgainAtMs.push(performance.now());
        return connection;
      } catch (error) {
        if (performance.now() > endMs) {
          throw new Error(`Not served again within ${this.#options.reconnectLimitMs} ms`, {
            cause: error,
          });
        }
        await sleep(5);
      }
    }
  }
}
