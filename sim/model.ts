/**
 * The model of one volume's content: for each 512-byte sector, what may legally be read.
 *
 * A sector has a base (one content, of which perhaps only candidates are known) and the changes made since, in the order of
 * the calls, which is the order in which overlapping changes take effect (drive-store.md, H10).
 *
 * Rules:
 *  1. A read gives the newest change called before it; a change that ended in an error may have happened or not.
 *  2. SIGKILL: the newest acknowledged change or any later one.                 (kill: nothing acknowledged is lost)
 *  3. Power cut: the newest flushed change or any later one, per sector.        (cut: nothing flushed is lost)
 *  4. What an opened drive holds is durable: a recovery ends before it serves.
 *  5. A content once read stays, except through a power cut before a flush.
 *  6. A drive write that fails costs no content: only what held nothing may be unreadable until it is written again.
 */

import { SECTOR_BYTES } from './sim-disk.ts';
import { isStamp, originOf, stamp, ZEROS } from './stamp.ts';
import { SnapshotModel } from './snapshot-model.ts';
import { Unreadable } from './unreadable.ts';
import { Violation } from './world.ts';

/** One write, zero or trim: shared by the sectors it covers. */
export class Change {
  /** Its place in the order of calls, over all volumes; also the number in its stamps. */
  readonly number: number;
  readonly zeros: boolean;
  state: 'in-flight' | 'acknowledged' | 'uncertain' = 'in-flight';
  flushed = false;
  /** A read called later gave what was there before: so this change must end in an error. Says where. */
  doubted: string | undefined;
  /** Contents of sectors that it covers in part only. */
  readonly composed: Map<number, Uint8Array> = new Map();

  constructor(number: number, options: { readonly zeros: boolean }) {
    this.number = number;
    this.zeros = options.zeros;
  }
}

/** A content that a sector may have: the change that made it, or undefined for never written. */
export type Content = Change | undefined;

type Sector = { base: Content[]; tail: Change[] };

type Range = { readonly first: number; readonly count: number };

const NEVER: readonly Content[] = [undefined];
const BLOCK_SECTORS = 8;

export class VolumeModel {
  /** In stamps. */
  readonly id: number;
  readonly name: string;
  #sectors: (Sector | undefined)[];
  sizeBytes: number;
  /** Acknowledged and not flushed, in order of acknowledgement. */
  #unflushed: Change[] = [];
  #inFlight = new Map<Change, Range>();
  readonly #unreadable = new Unreadable();
  readonly #cuts = new Set<SnapshotModel>();
  /** After a lying flush or a rollback: any content that this sector of this volume ever had. */
  outdated = false;
  /** After rot and the like: EIO is legal anywhere. */
  mayFail = false;

  constructor(fields: { readonly id: number; readonly name: string; readonly sizeBytes: number }) {
    this.id = fields.id;
    this.name = fields.name;
    this.sizeBytes = fields.sizeBytes;
    this.#sectors = Array.from({ length: fields.sizeBytes / SECTOR_BYTES });
  }

  get sectorCount(): number {
    return this.#sectors.length;
  }

  /** What a smaller size cuts off reads as zeros when the volume grows again. */
  resize(sizeBytes: number): void {
    const count = sizeBytes / SECTOR_BYTES;
    this.sizeBytes = sizeBytes;
    const more = Math.max(0, count - this.#sectors.length);
    this.#sectors = [...this.#sectors.slice(0, count), ...Array.from<undefined>({ length: more })];
  }

  #sector(sector: number): Sector {
    return (this.#sectors[sector] ??= { base: [...NEVER], tail: [] });
  }

  /** `change` was submitted for these sectors. */
  submit(change: Change, first: number, count: number): void {
    this.#inFlight.set(change, { first, count });
    for (let sector = first; sector < first + count; sector++) {
      this.#sector(sector).tail.push(change);
      for (const cut of this.#cuts) cut.admit(sector, change);
    }
  }

  acknowledge(change: Change, options: { readonly durable: boolean }): void {
    for (const block of blocksOf(this.#inFlight.get(change))) this.#unreadable.heal(block, change);
    this.#inFlight.delete(change);
    if (change.doubted !== undefined) {
      throw new Violation('order', `#${change.number} was acknowledged, but ${change.doubted}`);
    }
    change.state = 'acknowledged';
    if (options.durable) change.flushed = true;
    else this.#unflushed.push(change);
  }

  fail(change: Change): void {
    this.#inFlight.delete(change);
    change.state = 'uncertain';
  }

  /** A drive write failed: it may have been the data of any change under way. */
  writeFailed(): void {
    for (const [change, range] of this.#inFlight) {
      for (const block of blocksOf(range)) {
        if (this.#mayBeEmpty(block, change.number)) this.#unreadable.add(block, change);
      }
    }
  }

  /** Whether a block may hold nothing for who called before change `before`. */
  #mayBeEmpty(block: number, before: number): boolean {
    for (let sector = block * BLOCK_SECTORS; sector < (block + 1) * BLOCK_SECTORS; sector++) {
      const isEmpty = (content: Content): boolean =>
        content === undefined || (content.zeros && !content.composed.has(sector));
      if (!this.#legal(sector, before).some(isEmpty)) return false;
    }
    return true;
  }

  /** Whether a read of these blocks, called before change `before`, may end in EIO for what a failed write left. */
  mayBeUnreadable(firstBlock: number, blockCount: number, before: number): boolean {
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      if (this.#unreadable.has(block, before)) return true;
    }
    return false;
  }

  /** Blocks that a snapshot made now may hold unreadable. */
  unreadableBlocks(): readonly number[] {
    return this.#unreadable.blocks();
  }

  /** What a flush called now covers; to be passed to {@link flushed} when it returned. */
  flushing(): readonly Change[] {
    return [...this.#unflushed];
  }

  flushed(covered: readonly Change[]): void {
    for (const change of covered) change.flushed = true;
    this.#unflushed = this.#unflushed.filter((change) => !change.flushed);
  }

  /** Changes that are on their way to this sector. */
  isBusy(sector: number): boolean {
    return this.#sectors[sector]?.tail.some((change) => change.state === 'in-flight') ?? false;
  }

  /** The sector's one possible content as bytes, or undefined where there are several. */
  certain(sector: number): Uint8Array | undefined {
    const contents = this.#legal(sector, Infinity);
    const [content] = contents;
    if (contents.length !== 1 || this.isBusy(sector) || this.outdated) return undefined;
    return this.#bytes(sector, content);
  }

  #bytes(sector: number, content: Content): Uint8Array {
    const composed = content?.composed.get(sector);
    if (composed !== undefined) return composed;
    const words = new Uint32Array(SECTOR_BYTES / 4);
    if (content !== undefined && !content.zeros) {
      stamp(words, 0, { volume: this.id, sector, write: content.number });
    }
    return new Uint8Array(words.buffer);
  }

  /** What a read called when `before` was the next change's number may give. */
  #legal(sector: number, before: number): Content[] {
    const state = this.#sectors[sector];
    if (state === undefined) return [...NEVER];
    const contents: Content[] = [];
    for (let at = state.tail.length - 1; at >= 0; at--) {
      const change = state.tail[at];
      if (change === undefined || change.number >= before) continue;
      contents.push(change);
      if (change.state !== 'uncertain') return contents;
    }
    return [...contents, ...state.base];
  }

  /** Checks a sector that was read into `words`, and holds the store to it. */
  check(
    sector: number,
    words: Uint32Array,
    at: number,
    options: { readonly before: number; readonly after: string; readonly pin: boolean },
  ): void {
    const legal = this.#legal(sector, options.before);
    const found = legal.filter((content) => this.#matches(sector, content, words, at));
    if (found.length > 0) {
      if (legal.length > 1 && options.pin) this.#pin(sector, found, options.before);
      return;
    }
    if (this.outdated && this.#wasOnce(sector, words, at)) return;
    if (this.#foundBehindFailing(sector, words, at, options.before)) return;
    throw this.#violation(sector, words, at, { legal, after: options.after });
  }

  /**
   * A change that fails in one extent is answered when all its extents are over: until then reads of the failed one see what was there
   * before. Such a change is marked: it must not be acknowledged any more.
   */
  #foundBehindFailing(sector: number, words: Uint32Array, at: number, before: number): boolean {
    const { tail } = this.#sector(sector);
    const earlier = tail.filter((change) => change.number < before);
    for (let index = earlier.length - 1; index >= 0; index--) {
      const change = earlier[index];
      if (change === undefined || change.state === 'acknowledged') return false;
      if (change.state === 'uncertain') continue;
      const below = this.#legal(sector, change.number);
      if (!below.some((content) => this.#matches(sector, content, words, at))) continue;
      for (const doubted of earlier.slice(index)) {
        doubted.doubted = `a read called after it found what sector ${sector} of volume ${this.id} held before`;
      }
      return true;
    }
    return false;
  }

  #matches(sector: number, content: Content, words: Uint32Array, at: number): boolean {
    const composed = content?.composed.get(sector);
    if (composed !== undefined) {
      const bytes = new Uint8Array(words.buffer, words.byteOffset + at * 4, SECTOR_BYTES);
      return composed.every((byte, index) => bytes[index] === byte);
    }
    const write = content === undefined || content.zeros ? ZEROS : content.number;
    return isStamp(words, at, { volume: this.id, sector, write });
  }

  #wasOnce(sector: number, words: Uint32Array, at: number): boolean {
    const origin = originOf(words, at);
    if (origin.kind === 'zeros') return true;
    return origin.kind === 'stamp' && origin.volume === this.id && origin.sector === sector;
  }

  #pin(sector: number, found: readonly Content[], before: number): void {
    const state = this.#sector(sector);
    const later = state.tail.filter((change) => change.number >= before);
    const earlier = state.tail.filter((change) => change.number < before);
    if (earlier.some((change) => change.state === 'in-flight')) return;
    // Uncertain changes after the one that was seen never happened. Those before it stay: it is not flushed, and a power cut may bring
    // back any of them.
    const seen = earlier.findLastIndex((change) => found.includes(change));
    const kept = earlier.filter((change, index) => index <= seen || change.state !== 'uncertain');
    const change = kept[seen];
    if (change?.state === 'uncertain' && found.length === 1) kept[seen] = acknowledgedCopy(change);
    const base = state.base.filter((content) => found.includes(content));
    state.tail = [...kept, ...later];
    if (kept.length === 0) state.base = base;
  }

  /** The process or the machine died: what had no answer is uncertain, after a cut also what had no flush. */
  crash(kind: 'kill' | 'cut'): void {
    for (const change of this.#inFlight.keys()) change.state = 'uncertain';
    this.#inFlight.clear();
    if (kind === 'kill') return;
    this.#unreadable.cut();
    for (const state of this.#sectors) {
      for (const change of state?.tail ?? []) if (!change.flushed) change.state = 'uncertain';
    }
    this.#unflushed = [];
  }

  /** A recovery ended: whatever the drive holds now is durable. */
  recovered(): void {
    this.#sectors.forEach((state, sector) => {
      if (state === undefined) return;
      state.base = this.#legal(sector, Infinity);
      state.tail = [];
    });
    this.#unflushed = [];
    this.#unreadable.recovered();
  }

  /** A snapshot was called for: collects what it may hold until {@link SnapshotModel.done}. */
  snapshot(): SnapshotModel {
    const contents = new Map<number, Content[]>();
    const afterCut = new Map<number, Content[]>();
    this.#sectors.forEach((state, sector) => {
      if (state === undefined) return;
      contents.set(
        sector,
        until(state, (c) => c.state === 'acknowledged'),
      );
      afterCut.set(
        sector,
        until(state, (c) => c.state === 'acknowledged' && c.flushed),
      );
    });
    const cut = new SnapshotModel(this, {
      contents,
      afterCut,
      onDone: () => this.#cuts.delete(cut),
    });
    this.#cuts.add(cut);
    return cut;
  }

  checkContent(
    sector: number,
    legal: readonly Content[],
    at: { readonly words: Uint32Array; readonly at: number; readonly after: string },
  ): Content[] {
    const found = legal.filter((content) => this.#matches(sector, content, at.words, at.at));
    if (found.length > 0 || (this.outdated && this.#wasOnce(sector, at.words, at.at))) return found;
    throw this.#violation(sector, at.words, at.at, { legal, after: at.after });
  }

  #violation(
    sector: number,
    words: Uint32Array,
    at: number,
    context: { readonly legal: readonly Content[]; readonly after: string },
  ): Violation {
    const origin = originOf(words, at);
    const wanted = context.legal
      .map((c) =>
        c === undefined
          ? 'zeros (never written)'
          : `${c.zeros ? 'zeros of ' : ''}#${c.number} (${c.state}${c.flushed ? ', flushed' : ''})`,
      )
      .join(' or ');
    const foreign =
      origin.kind === 'stamp' && (origin.volume !== this.id || origin.sector !== sector);
    const got =
      origin.kind === 'stamp'
        ? `#${origin.write}${foreign ? ` of volume ${origin.volume}, sector ${origin.sector}` : ''}`
        : origin.kind === 'zeros'
          ? 'zeros'
          : `mixed bytes (${origin.first})`;
    const rule = foreign || origin.kind === 'mixed' ? 'wrong bytes' : 'lost or stale';
    return new Violation(
      rule,
      `volume ${this.id} (${this.name}) sector ${sector}, block ${Math.floor(sector / 8)}: read ${got}, legal ${wanted}; ${context.after}`,
    );
  }
}

/** The blocks that a range of sectors touches. */
function blocksOf(range: Range | undefined): number[] {
  if (range === undefined) return [];
  const first = Math.floor(range.first / BLOCK_SECTORS);
  const end = Math.ceil((range.first + range.count) / BLOCK_SECTORS);
  return Array.from({ length: end - first }, (_, index) => first + index);
}

function acknowledgedCopy(change: Change): Change {
  const copy = new Change(change.number, { zeros: change.zeros });
  copy.state = 'acknowledged';
  for (const [at, bytes] of change.composed) copy.composed.set(at, bytes);
  return copy;
}

function until(state: Sector, certain: (change: Change) => boolean): Content[] {
  const contents: Content[] = [];
  for (let at = state.tail.length - 1; at >= 0; at--) {
    const change = state.tail[at];
    if (change === undefined) continue;
    contents.push(change);
    if (certain(change)) return contents;
  }
  return [...contents, ...state.base];
}
