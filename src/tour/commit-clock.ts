/** When commits returned: how many, how fast, and the longest time in which none did. */
export class CommitClock {
  readonly #startedAtMs: number;
  readonly #nowMs: () => number;
  #count = 0;
  #lastAtMs: number;
  #longestGapMs = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
    this.#lastAtMs = this.#startedAtMs;
  }

  get count(): number {
    return this.#count;
  }

  /** One commit returned. */
  note(): void {
    const nowMs = this.#nowMs();
    this.#longestGapMs = Math.max(this.#longestGapMs, nowMs - this.#lastAtMs);
    this.#lastAtMs = nowMs;
    this.#count += 1;
  }

  /** The longest gap between two commits since the last call, and counts anew. */
  takeLongestGapMs(): number {
    const longestMs = this.#longestGapMs;
    this.#longestGapMs = 0;
    return longestMs;
  }

  /** Commits per second from the start to the last one. */
  perSecond(): number {
    const seconds = (this.#lastAtMs - this.#startedAtMs) / 1000;
    return seconds > 0 ? this.#count / seconds : 0;
  }
}
