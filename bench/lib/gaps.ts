/** Reads fio's latency logs: stalls, and the latency of every request. */

import { LatencyHistogram } from './histogram.ts';

/**
 * The longest time in ms in which none of the streams completed anything. `logs`: fio's per-completion latency logs, a
 * line "time in ms, value, …" for each, in any order, of streams that ran for `spanMs`: a stall at the start or at the
 * end counts too.
 */
export function longestGapMs(logs: readonly string[], spanMs: number): number {
  let endMs = spanMs;
  const seen = new Set<number>();
  for (const log of logs) {
    for (const [, time] of log.matchAll(/^(\d+),/gmu)) {
      const timeMs = Number(time);
      seen.add(timeMs);
      endMs = Math.max(endMs, timeMs);
    }
  }
  let longest = 0;
  let previous = 0;
  for (let timeMs = 0; timeMs <= endMs; timeMs++) {
    if (!seen.has(timeMs)) continue;
    longest = Math.max(longest, timeMs - previous);
    previous = timeMs;
  }
  return Math.max(longest, endMs - previous);
}

export type Latencies = { readonly read: LatencyHistogram; readonly write: LatencyHistogram };

/** The latencies in the same logs: "time in ms, nanoseconds, 0 read or 1 write, …". */
export function readLatencies(logs: readonly string[]): Latencies {
  const found = { read: new LatencyHistogram(), write: new LatencyHistogram() };
  for (const log of logs) {
    for (const [, value, direction] of log.matchAll(/^\d+, *(\d+), *([01]),/gmu)) {
      found[direction === '0' ? 'read' : 'write'].add(Number(value));
    }
  }
  return found;
}
