/** The rows and bars of `npm run bench:replicas`: the line "speed" of issue 4. */

import { pairedRatios, summarize } from './lib/statistics.ts';
import type { Sample } from './measure.ts';
import { type RowSamples, type Verdict, atLeast, atMost } from './report.ts';
import { ROWS, type Row } from './rows.ts';

/** The sides, as their servers are called. */
export const SIDES = {
  clear: 'three engines, in clear',
  sealed: 'three engines, sealed',
  fua: 'three engines, FUA',
  quorum: 'quorum',
  quorumFua: 'quorum, FUA',
  one: 'Holdfast',
} as const;
export type Side = keyof typeof SIDES;

/** CPU of all engines together for one 4 KiB write. */
const CPU_US = { bar: 60, aim: 45 };
/** Sealed frames to those in clear. */
const SEALED_BAR = 0.8;
/** Reads to those of a volume with one replica. */
const READ_BAR = 0.9;
const FUA_ROW = 'randwrite-4k-32-fua';

type Against = { readonly side: Side; readonly least: number; readonly aim: number };

/** Of frames in clear. */
const BARS: { readonly [rowId: string]: Against } = {
  'randwrite-4k-32': { side: 'quorum', least: 2, aim: 3 },
  'randwrite-4k-1': { side: 'quorum', least: 1.2, aim: 1.5 },
  'randwrite-4k-1-fsync': { side: 'quorum', least: 1.5, aim: 2 },
  'write-128k-16': { side: 'quorum', least: 1.5, aim: 2 },
  'randread-4k-32': { side: 'one', least: READ_BAR, aim: 1 },
  'randread-4k-1': { side: 'one', least: READ_BAR, aim: 1 },
  'read-128k-16': { side: 'one', least: READ_BAR, aim: 1 },
  [FUA_ROW]: { side: 'quorumFua', least: 3, aim: 5 },
};

/** Those of `npm run bench` that have a bar here, and writes with FUA, which sides of their own add to each. */
export const REPLICA_ROWS: readonly Row[] = ROWS.flatMap((row): Row[] => {
  if (BARS[row.id] === undefined) return [];
  if (row.id !== 'randwrite-4k-32') return [row];
  return [row, { ...row, id: FUA_ROW, title: `${row.title}, each with FUA` }];
});

/** Whether a row is run on a side. */
export function runsOn(row: Row, side: Side): boolean {
  return (side === 'fua' || side === 'quorumFua') === (row.id === FUA_ROW);
}

/** Compares each row with its bars. Ratios are medians of the rounds' own ratios. A side that did not run gives none. */
export function judgeReplicas(rows: readonly RowSamples[]): Verdict[] {
  return rows.flatMap(({ row, sides }): Verdict[] => {
    const of = (side: Side): readonly Sample[] =>
      sides.find((each) => each.side === SIDES[side])?.samples ?? [];
    const verdicts: Verdict[] = [];
    const compare = (
      ours: Side,
      { side, ...bar }: Omit<Against, 'aim'> & { aim?: number },
    ): void => {
      const ratios = pairedRatios(iopsOf(of(ours)), iopsOf(of(side)));
      if (of(ours).length === 0 || of(side).length === 0) return;
      const { least, ...aim } = bar;
      const what = `${SIDES[ours]} x ${SIDES[side]}`;
      const { median: measured } = summarize(ratios);
      verdicts.push(atLeast({ rowId: row.id, what, measured, bar: least, ...aim }));
    };
    const bar = BARS[row.id];
    if (bar !== undefined) compare(row.id === FUA_ROW ? 'fua' : 'clear', bar);
    compare('sealed', { side: 'clear', least: SEALED_BAR });
    const cpu = of('clear').map((sample) => sample.cpuUsPerIo);
    if (row.id === 'randwrite-4k-32' && cpu.length > 0) {
      const { median: measured } = summarize(cpu);
      const what = `${SIDES.clear}: µs CPU of all engines per I/O`;
      verdicts.push(atMost({ rowId: row.id, what, measured, ...CPU_US }));
    }
    return verdicts;
  });
}

const iopsOf = (samples: readonly Sample[]): number[] => samples.map((sample) => sample.iops);
