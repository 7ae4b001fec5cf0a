/**
 * A simulated drive: sparse media, a volatile cache, and what a power cut makes of the two.
 *
 * Fault model:
 *  1. A write reaches the cache sector by sector (512 bytes), at moments that sim-io.ts draws.
 *  2. A flush makes durable what the writes that had completed before it was called wrote: nothing that is later is promised.
 *  3. A cut gives each sector any of its contents since its last durable one, whatever its neighbours get; or a mix of two
 *     (torn), where the seed has that.
 *  4. What a flush made durable stays, unless a fault says otherwise (faults.ts).
 */

/** Atom of power cuts. */
export const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;
const SECTORS_PER_PAGE = 8;

/** One write as the cache knows it. `completed`: its place in the order of completions and flush calls; Infinity before. */
export type CachedWrite = { completed: number };

/** Sectors of one page that one write brought. */
type Version = { readonly bytes: Uint8Array; mask: number; readonly write: CachedWrite };

type Page = {
  current: Uint8Array;
  /** The durable content, where it differs. */
  base: Uint8Array | undefined;
  versions: Version[];
};

/** Of the versions of a sector (oldest first), the index of the one that the media has after the cut; -1: the durable one. */
export type CutChoice = (writes: readonly CachedWrite[]) => number;

export class SimDisk {
  readonly path: string;
  readonly kind: 'file' | 'block';
  readonly sectorBytes: 512 | 4096;
  sizeBytes: number;
  /** Bytes that its host has left for it. */
  hostFreeBytes: number = Infinity;
  /** Who holds the exclusive lock. */
  lock: object | undefined;
  #pages = new Map<number, Page>();
  readonly #dirty = new Set<number>();
  #sequence = 0;
  #dropped: { readonly write: CachedWrite; readonly completed: number }[] = [];

  constructor(options: {
    readonly path: string;
    readonly kind: 'file' | 'block';
    readonly sectorBytes: 512 | 4096;
    readonly sizeBytes: number;
  }) {
    this.path = options.path;
    this.kind = options.kind;
    this.sectorBytes = options.sectorBytes;
    this.sizeBytes = options.sizeBytes;
  }

  /** The next number in the order of completions and flush calls. */
  tick(): number {
    return ++this.#sequence;
  }

  /** Copies what the drive answers now into `into`. */
  read(positionBytes: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const page = Math.floor((positionBytes + done) / PAGE_BYTES);
      const from = positionBytes + done - page * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - from, into.length - done);
      const found = this.#pages.get(page);
      if (found === undefined) into.fill(0, done, done + length);
      else into.set(found.current.subarray(from, from + length), done);
      done += length;
    }
  }

  /** Puts whole sectors of `write` into the cache. `bytes` is copied. */
  apply(write: CachedWrite, positionBytes: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const number = Math.floor((positionBytes + done) / PAGE_BYTES);
      const from = positionBytes + done - number * PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - from, bytes.length - done);
      const page = this.#page(number);
      page.base ??= page.current;
      // The version's bytes double as the current content: a new array each time, so that earlier versions stay what they are.
      const next = page.current.slice();
      next.set(bytes.subarray(done, done + length), from);
      const first = Math.floor(from / SECTOR_BYTES);
      const end = Math.ceil((from + length) / SECTOR_BYTES);
      const mask = ((1 << (end - first)) - 1) << first;
      page.current = next;
      page.versions.push({ bytes: next, mask, write });
      this.#dirty.add(number);
      done += length;
    }
  }

  /** What was completed before `called` is durable. */
  flush(called: number): void {
    for (const number of this.#dirty) {
      const page = this.#page(number);
      let base: Uint8Array | undefined;
      page.versions.forEach((version, index) => {
        if (version.write.completed >= called || version.mask === 0) return;
        base ??= (page.base ?? page.current).slice();
        copySectors(base, version.bytes, version.mask);
        for (let earlier = 0; earlier < index; earlier++) {
          const other = page.versions[earlier];
          if (other !== undefined) other.mask &= ~version.mask;
        }
        version.mask = 0;
      });
      if (base === undefined) continue;
      page.base = base;
      page.versions = page.versions.filter((version) => version.mask !== 0);
      if (page.versions.length === 0) this.#settle(number, page, page.current);
    }
  }

  /** Writes in the cache that a cut may lose, each once, in the order in which they came. */
  cachedWrites(): CachedWrite[] {
    const writes = new Set<CachedWrite>();
    for (const number of this.#dirty) {
      for (const version of this.#page(number).versions) writes.add(version.write);
    }
    return [...writes];
  }

  /** The number of (sector, version) pairs that a cut decides over. */
  get dirtyPages(): number {
    return this.#dirty.size;
  }

  /** Power goes: `choose` decides for each sector; `tear`, where given, returns bytes of the newer content before the older goes on. */
  cut(choose: CutChoice, tear?: () => number): void {
    for (const number of [...this.#dirty].toSorted((a, b) => a - b)) {
      const page = this.#page(number);
      const durable = page.base ?? page.current;
      const media = durable.slice();
      for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
        const versions = page.versions.filter((version) => ((version.mask >> sector) & 1) === 1);
        if (versions.length === 0) continue;
        const chosen = choose(versions.map((version) => version.write));
        const from = sector * SECTOR_BYTES;
        const content = versions[chosen]?.bytes ?? durable;
        media.set(content.subarray(from, from + SECTOR_BYTES), from);
        const torn = tear?.() ?? 0;
        if (torn === 0) continue;
        const older = chosen > 0 ? (versions[chosen - 1]?.bytes ?? durable) : durable;
        media.set(older.subarray(from + torn, from + SECTOR_BYTES), from + torn);
      }
      this.#settle(number, page, media);
    }
  }

  #settle(number: number, page: Page, content: Uint8Array): void {
    page.current = content;
    page.base = undefined;
    page.versions = [];
    this.#dirty.delete(number);
  }

  /** Changes a byte under everything's feet: rot. */
  flip(positionBytes: number, bits: number): void {
    const number = Math.floor(positionBytes / PAGE_BYTES);
    const page = this.#page(number);
    const at = positionBytes - number * PAGE_BYTES;
    // Contents are shared with images: the rotten one is a copy.
    const rotten = new Map<Uint8Array, Uint8Array>();
    const rot = (content: Uint8Array): Uint8Array => {
      const copy = rotten.get(content) ?? content.slice();
      if (!rotten.has(content)) copy[at]! ^= bits;
      rotten.set(content, copy);
      return copy;
    };
    page.current = rot(page.current);
    if (page.base !== undefined) page.base = rot(page.base);
    page.versions = page.versions.map((version) => ({ ...version, bytes: rot(version.bytes) }));
  }

  /** Page numbers that hold something. */
  writtenPages(): number[] {
    return [...this.#pages.keys()].toSorted((a, b) => a - b);
  }

  /** Whether a page holds something other than zeros. */
  isWritten(page: number): boolean {
    return this.#pages.get(page)?.current.some((byte) => byte !== 0) ?? false;
  }

  /**
   * A flush failed: later ones of this process succeed and do not cover what it would have covered, as page caches do (fsyncgate,
   * 2018). A new opening starts with a clean slate, see {@link reopened}.
   */
  flushFailed(called: number): void {
    for (const number of this.#dirty) {
      for (const { write } of this.#page(number).versions) {
        if (write.completed >= called) continue;
        this.#dropped.push({ write, completed: write.completed });
        write.completed = Infinity;
      }
    }
  }

  reopened(): void {
    for (const { write, completed } of this.#dropped) write.completed = completed;
    this.#dropped = [];
  }

  /** All content and cache as they are now, to come back to by {@link restore}. */
  image(): SimDiskImage {
    const pages = new Map<number, Page>();
    const writes = new Map<CachedWrite, CachedWrite>();
    for (const [number, page] of this.#pages) {
      const versions = page.versions.map((version) => {
        let write = writes.get(version.write);
        if (write === undefined) writes.set(version.write, (write = { ...version.write }));
        return { ...version, write };
      });
      // Contents are never changed in place, so they can be shared.
      pages.set(number, { ...page, versions });
    }
    return { pages, dirty: [...this.#dirty], sizeBytes: this.sizeBytes };
  }

  restore(image: SimDiskImage): void {
    this.#pages = new Map();
    for (const [number, page] of image.pages) {
      const versions = page.versions.map((version) => ({ ...version }));
      this.#pages.set(number, { ...page, versions });
    }
    this.#dirty.clear();
    for (const number of image.dirty) this.#dirty.add(number);
    this.sizeBytes = image.sizeBytes;
  }

  #page(number: number): Page {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { current: new Uint8Array(PAGE_BYTES), base: undefined, versions: [] };
      this.#pages.set(number, page);
    }
    return page;
  }
}

export type SimDiskImage = {
  readonly pages: ReadonlyMap<number, Page>;
  readonly dirty: readonly number[];
  readonly sizeBytes: number;
};

function copySectors(into: Uint8Array, from: Uint8Array, mask: number): void {
  for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
    if (((mask >> sector) & 1) === 0) continue;
    const at = sector * SECTOR_BYTES;
    into.set(from.subarray(at, at + SECTOR_BYTES), at);
  }
}
