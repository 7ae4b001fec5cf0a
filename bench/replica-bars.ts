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
  ceph: 'Ceph RBD',
} as const;
export type Side = keyof typeof SIDES;

/** CPU of all engines together for one 4 KiB write. */
const CPU_US = { bar: 60, aim: 45 };
/** Sealed frames to those in clear. */
const SEALED_BAR = 0.8;
/** Reads to those of a volume with one replica. */
const READ_BAR = 0.9;
const FUA_ROW = 'randwrite-4k-32-fua';

type Against = { readonly side: Side; readonly least: number; readonly aim?: number };

/** Of frames in clear, and of writes with FUA. */
const BARS: { readonly [rowId: string]: readonly Against[] } = {
  'randwrite-4k-32': [
    { side: 'quorum', least: 2, aim: 3 },
    { side: 'ceph', least: 15, aim: 25 },
  ],
  'randwrite-4k-1': [{ side: 'quorum', least: 1.2, aim: 1.5 }],
  'randwrite-4k-1-fsync': [
    { side: 'quorum', least: 1.5, aim: 2 },
    { side: 'ceph', least: 4, aim: 6 },
  ],
  'write-128k-16': [{ side: 'quorum', least: 1.5, aim: 2 }],
  'randread-4k-32': [{ side: 'one', least: READ_BAR, aim: 1 }],
  'randread-4k-1': [{ side: 'one', least: READ_BAR, aim: 1 }],
  'read-128k-16': [{ side: 'one', least: READ_BAR, aim: 1 }],
  [FUA_ROW]: [
    { side: 'quorumFua', least: 3, aim: 5 },
    { side: 'ceph', least: 8, aim: 12 },
  ],
};

/** Those of `npm run bench` that have a bar here, and writes with FUA, which sides of their own add to each. */
export const REPLICA_ROWS: readonly Row[] = ROWS.flatMap((row): Row[] => {
  if (BARS[row.id] === undefined) return [];
  if (row.id !== 'randwrite-4k-32') return [row];
  return [row, { ...row, id: FUA_ROW, title: `${row.title}, each with FUA` }];
});

/** Why sides that were asked for cannot run here. */
export type Absent = { readonly [side in Side]?: string };

/** The row as it is run on a side; undefined: it is not. */
export function rowOn(row: Row, side: Side): Row | undefined {
  // Its plain writes are durable on all copies: they stand against flushed ones and those with FUA.
  if (side === 'ceph') return { ...row, flushEach: false };
  const isFuaSide = side === 'fua' || side === 'quorumFua';
  return isFuaSide === (row.id === FUA_ROW) ? row : undefined;
}

/** Compares each row with its bars. Ratios are medians of the rounds' own ratios. A side that was not asked for gives none. */
export function judgeReplicas(rows: readonly RowSamples[], absent: Absent = {}): Verdict[] {
  return rows.flatMap(({ row, sides }): Verdict[] => {
    const of = (side: Side): readonly Sample[] =>
      sides.find((each) => each.side === SIDES[side])?.samples ?? [];
    const compare = (ours: Side, { side, least, ...aim }: Against): Verdict[] => {
      const compared = { rowId: row.id, what: `${SIDES[ours]} x ${SIDES[side]}`, bar: least };
      const reason = absent[side];
      if (reason !== undefined) return [{ ...compared, ...aim, kind: 'not judged', reason }];
      if (of(ours).length === 0 || of(side).length === 0) return [];
      const { median: measured } = summarize(pairedRatios(iopsOf(of(ours)), iopsOf(of(side))));
      return [atLeast({ ...compared, ...aim, measured })];
    };
    const ours = row.id === FUA_ROW ? 'fua' : 'clear';
    const verdicts = (BARS[row.id] ?? []).flatMap((bar) => compare(ours, bar));
    verdicts.push(...compare('sealed', { side: 'clear', least: SEALED_BAR }));
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
