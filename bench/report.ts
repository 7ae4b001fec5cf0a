/** The table and the verdicts of `npm run bench`. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { HostFacts } from './lib/host.ts';
import type { Server } from './lib/server.ts';
import { pairedRatios, summarize, type Summary } from './lib/statistics.ts';
import type { Sample } from './measure.ts';
import type { Row } from './rows.ts';

const RESULTS = join(import.meta.dirname, 'results');

export type SideSamples = { readonly side: string; readonly samples: readonly Sample[] };
export type RowSamples = { readonly row: Row; readonly sides: readonly SideSamples[] };

type Compared = {
  readonly rowId: string;
  readonly what: string;
  readonly bar: number;
  readonly aim?: number;
};
export type Judged = Compared & {
  readonly measured: number;
  readonly kind: 'reached the aim' | 'met' | 'MISSED';
};
/** Its side was asked for, and cannot run here. */
export type Unjudged = Compared & { readonly kind: 'not judged'; readonly reason: string };
export type Verdict = Judged | Unjudged;

export type SideFacts = {
  readonly name: string;
  readonly version: string;
  readonly acknowledgedWhen: string;
};

export type Report = {
  readonly startedAt: string;
  readonly host: HostFacts;
  readonly conditions: readonly string[];
  readonly sides: readonly SideFacts[];
  readonly rows: readonly RowSamples[];
  readonly verdicts: readonly Verdict[];
};

/** The names that the servers of a comparison carry: ours, the limit, the peer. */
export type Roles = { readonly ours: string; readonly base: string; readonly peer: string };

/** Compares every row with its bars. Ratios are medians of the rounds' own ratios. Sides that did not run give none. */
export function judge(rows: readonly RowSamples[], roles: Roles): Judged[] {
  const verdicts: Judged[] = [];
  const iopsOf = (rowId: string, side: string): number[] | undefined =>
    rows
      .find((each) => each.row.id === rowId)
      ?.sides.find((each) => each.side === side)
      ?.samples.map((sample) => sample.iops);

  for (const { row, sides } of rows) {
    const ours = iopsOf(row.id, roles.ours);
    if (ours === undefined) continue;
    const against = row.freshAgainst;
    const base = against === undefined ? iopsOf(row.id, roles.base) : iopsOf(against, roles.ours);
    const baseName = against === undefined ? roles.base : 'overwrites';
    const peer = iopsOf(row.id, roles.peer);
    const ratio = (others: number[]): number => summarize(pairedRatios(ours, others)).median;
    if (base !== undefined) {
      const aim = row.bar.aim === undefined ? {} : { aim: row.bar.aim };
      verdicts.push(
        atLeast({
          rowId: row.id,
          what: `x ${baseName}`,
          measured: ratio(base),
          bar: row.bar.base,
          ...aim,
        }),
      );
    }
    if (peer !== undefined && row.bar.peer !== undefined) {
      const what = `x ${roles.peer}`;
      verdicts.push(atLeast({ rowId: row.id, what, measured: ratio(peer), bar: row.bar.peer }));
    }
    const cpu = sides
      .find((each) => each.side === roles.ours)
      ?.samples.map((each) => each.cpuUsPerIo);
    // A server that was killed or started anew meanwhile: no figure of this row says anything.
    if (cpu?.some((each) => Number.isNaN(each)) === true) {
      const what = 'server lived through it';
      verdicts.push({ rowId: row.id, what, measured: 0, bar: 1, kind: 'MISSED' });
    }
    if (cpu !== undefined && row.bar.cpuUs !== undefined) {
      const measured = summarize(cpu).median;
      const what = 'µs CPU per I/O';
      verdicts.push(atMost({ rowId: row.id, what, measured, bar: row.bar.cpuUs }));
    }
  }
  return verdicts;
}

/** A verdict on something that is to be at least its bar. */
export function atLeast(input: Omit<Judged, 'kind'>): Judged {
  // NaN, from a side without a single usable round, is a miss.
  if (!(input.measured >= input.bar)) return { ...input, kind: 'MISSED' };
  const reached = input.aim !== undefined && input.measured >= input.aim;
  return { ...input, kind: reached ? 'reached the aim' : 'met' };
}

/** A verdict on something that is to be at most its bar. */
export function atMost(input: Omit<Judged, 'kind'>): Judged {
  if (!(input.measured <= input.bar)) return { ...input, kind: 'MISSED' };
  const reached = input.aim !== undefined && input.measured <= input.aim;
  return { ...input, kind: reached ? 'reached the aim' : 'met' };
}

/** Whether every row was judged and met its bars: what was not measured never passes. */
export function allMet(
  rows: readonly { readonly id: string }[],
  verdicts: readonly Verdict[],
): boolean {
  const judged = new Set(verdicts.map((each) => each.rowId));
  return (
    rows.length > 0 &&
    rows.every((row) => judged.has(row.id)) &&
    verdicts.every(({ kind }) => kind === 'met' || kind === 'reached the aim')
  );
}

/** What the report says of a side. */
export async function sideFacts(server: Server): Promise<SideFacts> {
  return {
    name: server.name,
    acknowledgedWhen: server.acknowledgedWhen,
    version: await server.version(),
  };
}

/** Prints the report and writes it to bench/results/NAME-TIME. */
export function publish(name: string, report: Report): void {
  mkdirSync(RESULTS, { recursive: true });
  const stem = join(RESULTS, `${name}-${report.startedAt.replaceAll(/[:.]/gu, '-')}`);
  const text = formatReport(report);
  writeFileSync(`${stem}.json`, `${JSON.stringify(report, undefined, 2)}\n`);
  writeFileSync(`${stem}.md`, text);
  process.stdout.write(`\n${text}\nWritten to ${stem}.md and .json\n`);
}

/** The whole report as Markdown. */
export function formatReport(report: Report): string {
  const { host } = report;
  const lines = [
    `Measured ${report.startedAt} on ${host.cpuCount} x ${host.cpu}, ${host.memoryGib} GiB, kernel ${host.kernel}.`,
    `File system: ${host.fileSystem}`,
    ...report.conditions,
    '',
    '| system | a write is acknowledged when it is | version |',
    '| --- | --- | --- |',
    ...report.sides.map((each) => `| ${each.name} | ${each.acknowledgedWhen} | ${each.version} |`),
    '',
    ...sampleTable(report.rows),
    '| row | compared | measured | bar (aim) | verdict |',
    '| --- | --- | --- | --- | --- |',
    ...report.verdicts.map((each) => verdictLine(each)),
    '',
  ];
  return lines.join('\n');
}

function sampleTable(rows: readonly RowSamples[]): string[] {
  if (rows.length === 0) return [];
  return [
    '| row | system | IOPS: median (least to most) | MB/s | p50 / p99 µs | CPU µs per I/O | noise |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...rows.flatMap((each) => each.sides.map((side) => sampleLine(each.row, side))),
    '',
  ];
}

function sampleLine(row: Row, side: SideSamples): string {
  const of = (pick: (sample: Sample) => number): Summary => summarize(side.samples.map(pick));
  const iops = of((each) => each.iops);
  const cells = [
    row.title,
    side.side,
    `${whole(iops.median)} (${whole(iops.min)} to ${whole(iops.max)})`,
    whole(of((each) => each.bytesPerSecond).median / 1e6),
    `${whole(of((each) => each.latencyP50Us).median)} / ${whole(of((each) => each.latencyP99Us).median)}`,
    of((each) => each.cpuUsPerIo).median.toFixed(1),
    `${whole(100 * of((each) => each.foreignShare).median)} %`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function verdictLine(verdict: Verdict): string {
  const aim = verdict.aim === undefined ? '' : ` (${verdict.aim})`;
  const isJudged = verdict.kind !== 'not judged';
  const cells = [
    verdict.rowId,
    verdict.what,
    isJudged ? verdict.measured.toFixed(2) : '-',
    `${verdict.bar}${aim}`,
    isJudged ? verdict.kind : `not judged: ${verdict.reason}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
