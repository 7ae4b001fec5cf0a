/** Looks for stalls in fio's latency logs. */

/**
 * The longest time in ms in which none of the streams completed anything. `logs`: fio's per-completion latency logs, a
 * line "time in ms, value, …" for each, in any order. The time before the first and after the last completion is not a gap.
 */
export function longestGapMs(logs: readonly string[]): number {
  let lastMs = 0;
  const seen = new Set<number>();
  for (const log of logs) {
    for (const [, time] of log.matchAll(/^(\d+),/gmu)) {
      const timeMs = Number(time);
      seen.add(timeMs);
      lastMs = Math.max(lastMs, timeMs);
    }
  }
  let longest = 0;
  let previous: number | undefined;
  for (let timeMs = 0; timeMs <= lastMs; timeMs++) {
    if (!seen.has(timeMs)) continue;
    if (previous !== undefined) longest = Math.max(longest, timeMs - previous);
    previous = timeMs;
  }
  return longest;
}
