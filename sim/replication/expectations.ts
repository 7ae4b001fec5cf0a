/**
 * What each block of the volume may hold, from what clients were told: the promises of the volume, kept by nobody but the checks.
 * Values are numbers; 0 is a hole.
 */

import { Violation } from '../world.ts';

type Version = {
  /** Of the change that made it. */
  readonly changeId: number;
  readonly value: number;
  /** Its change has no outcome yet. */
  isPending: boolean;
  /** From when on another one is known to have taken its place; a flush issued later rules it out for good. */
  replacedAt: number;
};

export class Expectations {
  /** What may be there after everything that was not flushed is lost; those that were not replaced may be read now. */
  readonly #blocks: Version[][];
  #clock = 1;

  constructor(blockCount: number) {
    this.#blocks = Array.from({ length: blockCount }, () => [
      { changeId: 0, value: 0, isPending: false, replacedAt: Infinity },
    ]);
  }

  /** A change may take effect from now on. */
  issued(block: number, changeId: number, value: number): void {
    this.#blocks[block]!.push({ changeId, value, isPending: true, replacedAt: Infinity });
  }

  /** In the order in which overlapping changes were issued. */
  acknowledged(block: number, changeId: number): void {
    this.#settle(block, (version) => version.changeId === changeId);
  }

  /** Nobody will ever know what became of it. */
  unresolved(block: number, changeId: number): void {
    for (const version of this.#blocks[block]!) {
      if (version.changeId === changeId) version.isPending = false;
    }
  }

  read(block: number, value: number): void {
    if (!this.mayBe(block, value)) {
      throw new Violation('read', `block ${block} reads as ${value}; ${this.describe(block)}`);
    }
    this.#settle(block, (version) => version.value === value && !version.isPending);
  }

  /** To be passed to {@link flushed}. */
  flushIssued(): number {
    return this.#clock++;
  }

  /** What was acknowledged before `issuedAt` is durable. */
  flushed(issuedAt: number): void {
    for (const [block, versions] of this.#blocks.entries()) {
      if (versions.length === 1) continue;
      this.#blocks[block] = versions.filter((version) => version.replacedAt >= issuedAt);
    }
  }

  /** Every member that was left had lost power: whatever was not ruled out by a flush may be there again. */
  lostUnflushed(): void {
    for (const versions of this.#blocks) {
      for (const version of versions) version.replacedAt = Infinity;
    }
  }

  /** A loss was accepted: the volume holds these values, durably. */
  beginAnew(values: Iterable<number>): void {
    let block = 0;
    for (const value of values) {
      this.#blocks[block++] = [{ changeId: 0, value, isPending: false, replacedAt: Infinity }];
    }
  }

  /** `flushedAt`: were a flush issued then to succeed. */
  mayBeDurable(block: number, value: number, flushedAt = 0): boolean {
    for (const version of this.#blocks[block]!) {
      if (version.value === value && version.replacedAt >= flushedAt) return true;
    }
    return false;
  }

  mayBe(block: number, value: number): boolean {
    return this.#blocks[block]!.some(
      (version) => version.value === value && !version.isPending && version.replacedAt === Infinity,
    );
  }

  /** Where no request is answered yet: what is under way may have taken effect. */
  mayBeFound(block: number, value: number): boolean {
    return this.#blocks[block]!.some(
      (version) => version.value === value && version.replacedAt === Infinity,
    );
  }

  describe(block: number): string {
    const words = this.#blocks[block]!.map(
      ({ value, isPending, replacedAt }) =>
        `${value}${isPending ? ' (under way)' : replacedAt === Infinity ? '' : ' (replaced)'}`,
    );
    return `it may hold ${words.join(', ')}`;
  }

  /** All of it, with times only as far as they are before or after each other and `flushes`. */
  fingerprint(flushes: readonly number[]): string {
    const times = new Set([...flushes, ...this.#blocks.flat().map((each) => each.replacedAt)]);
    const order = new Map([...times].toSorted((a, b) => a - b).map((time, index) => [time, index]));
    const versions = this.#blocks.map((block) =>
      block.map(
        ({ changeId, value, isPending, replacedAt }) =>
          `${changeId}.${value}${isPending ? '?' : '.'}${order.get(replacedAt)}`,
      ),
    );
    return `${versions.join(';')} ${flushes.map((time) => order.get(time)).join()}`;
  }

  /** One of the versions that `isIt` is there now, and no other that has an outcome. */
  #settle(block: number, isIt: (version: Version) => boolean): void {
    const now = this.#clock++;
    for (const version of this.#blocks[block]!) {
      if (isIt(version)) {
        version.isPending = false;
        version.replacedAt = Infinity;
      } else if (!version.isPending) {
        version.replacedAt = Math.min(version.replacedAt, now);
      }
    }
  }
}
