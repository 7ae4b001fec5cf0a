/** Medians and spreads. Every figure that a rig prints comes with both. */

export type Summary = {
  readonly count: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
};

/** The middle value, or the mean of the two middle ones. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const high = sorted[middle];
  if (high === undefined) return Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

export function summarize(values: readonly number[]): Summary {
  return {
    count: values.length,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
  };
}

/** Round by round `ours / theirs`, so that a noisy minute spoils one ratio and not the median of a whole side. */
export function pairedRatios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.flatMap((value, index) => {
    const other = theirs[index];
    return other === undefined || other === 0 ? [] : [value / other];
  });
}
