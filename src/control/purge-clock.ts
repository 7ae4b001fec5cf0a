/**
 * The clock by which the trash is purged. The wall clock alone would purge a day early what is there as somebody sets it a day forward.
 * Beside it goes the boot clock, which nobody sets: what the wall clock has gained on it is no time that has passed.
 *
 * The file keeps what was seen over restarts of control. Of a machine that was off nobody saw anything: a new boot begins by believing
 * the wall clock.
 */

import fs from 'node:fs';

import { replaceFile } from './installation.ts';

/** Below that two readings are the same. */
const NOTED_MS = 1000;
/** Steps below that are NTP's: one a day would otherwise keep for good what a larger one holds. */
const STEP_MS = 60_000;

type Seen = {
  readonly bootId: string;
  /** What the wall clock is before the boot clock: the least that was seen, ms; and the last. */
  leastMs: number;
  lastMs: number;
  /** On the boot clock, when the wall clock was last set forward; null: not in this boot. */
  setAtMs: number | null;
};

export type PurgeClockOptions = {
  readonly file: string;
  readonly bootId: string;
  readonly wallMs: () => number;
  readonly bootMs: () => number;
};

export class PurgeClock {
  readonly #options: PurgeClockOptions;
  #seen: Seen | undefined;
  /** The file has what was seen. */
  #isWritten = false;

  constructor(options: PurgeClockOptions) {
    this.#options = options;
  }

  /** Looks at both clocks. To be called every few seconds. */
  look(): Look {
    const { bootMs, wallMs, bootId, file } = this.#options;
    const nowMs = bootMs();
    const wallNowMs = wallMs();
    const offsetMs = wallNowMs - nowMs;
    this.#seen ??= readSeen(file, bootId);
    const seen = this.#seen ?? { bootId, leastMs: offsetMs, lastMs: offsetMs, setAtMs: null };
    const stepMs = offsetMs - seen.lastMs;
    if (stepMs > STEP_MS) seen.setAtMs = nowMs;
    if (this.#seen === undefined || Math.abs(stepMs) > NOTED_MS) {
      seen.lastMs = offsetMs;
      seen.leastMs = Math.min(seen.leastMs, offsetMs);
      this.#isWritten = false;
    }
    this.#seen = seen;
    if (!this.#isWritten) this.#isWritten = tryKeep(file, seen);
    const { leastMs, setAtMs } = seen;
    const countedMs = setAtMs === null ? Infinity : nowMs - setAtMs;
    return { wallMs: wallNowMs, passedMs: Math.min(nowMs + leastMs, wallNowMs), countedMs };
  }
}

/** What the clocks say. */
export type Look = {
  readonly wallMs: number;
  /** The wall clock without what it was set forward. */
  readonly passedMs: number;
  /** Since the wall clock was last set forward. */
  readonly countedMs: number;
};

/**
 * Whether the time of what was to be kept from `fromMs` to `untilMs` is over: by the wall clock, and also without what that was set
 * forward, or since. A clock that was put right by years would keep it for years otherwise.
 */
export function isOver(
  { fromMs, untilMs }: { readonly fromMs: number; readonly untilMs: number },
  { wallMs, passedMs, countedMs }: Look,
): 'over' | 'held' | 'kept' {
  if (untilMs > wallMs) return 'kept';
  return untilMs <= passedMs || countedMs >= untilMs - fromMs ? 'over' : 'held';
}

/** Undefined where there is none of this boot. */
function readSeen(file: string, bootId: string): Seen | undefined {
  try {
    const seen = JSON.parse(fs.readFileSync(file, 'utf8')) as Seen;
    return seen.bootId === bootId ? seen : undefined;
  } catch {
    return undefined;
  }
}

/** False: the disk is full, or refuses it, and the next look tries again. Until then this process alone knows. */
function tryKeep(file: string, seen: Seen): boolean {
  try {
    replaceFile(file, `${JSON.stringify(seen)}\n`);
    return true;
  } catch (error) {
    if (error instanceof Error && 'errno' in error) return false;
    throw error;
  }
}
