/** The rows of `npm run bench` and the bars that issue 2 sets for them. */

import { flushEachWriteArgs, type Target } from './lib/fio.ts';

export type Row = {
  readonly id: string;
  readonly title: string;
  readonly direction: 'read' | 'write';
  readonly blockBytes: number;
  readonly depth: number;
  readonly pattern: 'randread' | 'randwrite' | 'read' | 'write';
  readonly flushEach: boolean;
  /** Holdfast alone, on a volume in which nothing was written, against the row named by `overwrites`. */
  readonly freshAgainst?: string;
  readonly bar: Bar;
};

export type Bar = {
  /** Least ratio to the raw file, and the ratio aimed at. For never-written space: to overwrites of Holdfast. */
  readonly base: number;
  readonly aim?: number;
  /** Least ratio to qemu-nbd. */
  readonly peer?: number;
  /** Most CPU of the server for one operation, microseconds. */
  readonly cpuUs?: number;
};

const KIB = 1024;

function random4k(options: {
  readonly direction: 'read' | 'write';
  readonly depth: number;
  readonly flushEach?: boolean;
  readonly bar: Bar;
}): Row {
  const flushEach = options.flushEach ?? false;
  const pattern = `rand${options.direction}` as const;
  return {
    id: `${pattern}-4k-${options.depth}${flushEach ? '-fsync' : ''}`,
    title: `4 KiB ${pattern}, depth ${options.depth}${flushEach ? ', fsync after each' : ''}`,
    direction: options.direction,
    blockBytes: 4 * KIB,
    depth: options.depth,
    pattern,
    flushEach,
    bar: options.bar,
  };
}

function sequential128k(direction: 'read' | 'write'): Row {
  return {
    id: `${direction}-128k-16`,
    title: `128 KiB ${direction}, depth 16`,
    direction,
    blockBytes: 128 * KIB,
    depth: 16,
    pattern: direction,
    flushEach: false,
    bar: { base: 0.7, aim: 0.9, peer: 1.3 },
  };
}

/** The same row on never-written space: half the rate of overwrites. */
function fresh(row: Row): Row {
  return {
    ...row,
    id: `first-${row.id}`,
    title: `${row.title}, never-written space`,
    freshAgainst: row.id,
    bar: { base: 0.5 },
  };
}

const WRITE_4K_32 = random4k({
  direction: 'write',
  depth: 32,
  bar: { base: 0.5, aim: 0.8, peer: 1.8, cpuUs: 15 },
});
const WRITE_128K_16 = sequential128k('write');

export const ROWS: readonly Row[] = [
  random4k({ direction: 'read', depth: 32, bar: { base: 0.6, aim: 0.85, peer: 1.8, cpuUs: 15 } }),
  WRITE_4K_32,
  random4k({ direction: 'read', depth: 1, bar: { base: 0.5, aim: 0.7, peer: 1.2 } }),
  random4k({ direction: 'write', depth: 1, bar: { base: 0.5, aim: 0.7, peer: 1.2 } }),
  random4k({
    direction: 'write',
    depth: 1,
    flushEach: true,
    bar: { base: 0.5, aim: 0.7, peer: 1.2 },
  }),
  sequential128k('read'),
  WRITE_128K_16,
  fresh(WRITE_4K_32),
  fresh(WRITE_128K_16),
];

/** fio's arguments for `seconds` of `row` on `target`. */
export function rowArgs(row: Row, target: Target, seconds: number): string[] {
  const args = [
    `--rw=${row.pattern}`,
    `--bs=${row.blockBytes}`,
    `--iodepth=${row.depth}`,
    `--runtime=${Math.round(seconds * 1000)}ms`,
  ];
  // On fresh space each block is written once: fio's random map stays on, and the run ends early when all is written.
  if (row.freshAgainst === undefined) args.push('--time_based', '--norandommap');
  if (row.flushEach) args.push(...flushEachWriteArgs(target));
  return args;
}
