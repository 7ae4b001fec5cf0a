/** Who sent false tokens lately: secrets of 256 bits are not guessed, but each try costs a handshake and a read of the store. */

import { Refusal } from '../../model/errors.ts';

/** False tokens of one address in a minute. */
const COUNT_MAX = 10;
const WINDOW_MS = 60_000;
/** Addresses that are remembered; the oldest is forgotten for a new one. */
const ADDRESSES_MAX = 1000;

export class FalseTokens {
  readonly #nowMs: () => number;
  readonly #seen = new Map<string, { readonly sinceMs: number; count: number }>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Throws JOIN_LIMITED for an address that sent too many. */
  refuse(address: string): void {
    const seen = this.#seen.get(address);
    if (seen === undefined) return;
    if (this.#nowMs() - seen.sinceMs >= WINDOW_MS) this.#seen.delete(address);
    else if (seen.count >= COUNT_MAX) throw new Refusal('JOIN_LIMITED', { address });
  }

  /** One came from there. */
  note(address: string): void {
    const seen = this.#seen.get(address);
    if (seen !== undefined) {
      seen.count++;
      return;
    }
    const [oldest] = this.#seen.keys();
    if (this.#seen.size >= ADDRESSES_MAX && oldest !== undefined) this.#seen.delete(oldest);
    this.#seen.set(address, { sinceMs: this.#nowMs(), count: 1 });
  }
}
