/**
 * `npm run bench:tail`: latency at half the saturated rate, open loop, 4 KiB, 70 % reads. Holdfast and the raw file get
 * the same rate in turns. Arrivals are Poisson: many independent streams, each with at most one request in flight, so that
 * a stall of one request does not hold back the arrivals of the others.
 */

import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { fillTarget, fio, type Target } from './lib/fio.ts';
import { type Latencies, longestGapMs, readLatencies } from './lib/gaps.ts';
import { LatencyHistogram } from './lib/histogram.ts';
import { dropPageCache, hostFacts, requireFreeBytes, settle } from './lib/host.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import type { Server } from './lib/server.ts';
import { Holdfast } from './servers/holdfast.ts';
import { QemuNbd } from './servers/qemu-nbd.ts';
import { RawFile } from './servers/raw-file.ts';

const HELP = `npm run bench:tail -- [options]: latency at half the saturated rate against the raw file

  --minutes N       of each side, in turns (10)
  --rate N          requests a second; by default half of what Holdfast saturates at
  --turn-seconds N  (60)
  --streams N       independent Poisson streams (32)
  --with-peer       also measures qemu-nbd
  --dir FOLDER      where a folder for the data is made (.holdfast/bench)
  --assert          exit status 1 when a bar is missed

Example: npm run bench:tail -- --minutes 1
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
const VOLUME_BYTES = 2 ** 30;
const READ_SHARE = 0.7;
const SATURATION_SECONDS = 10;
/** A side that gets less than this of the asked rate was not measured at it. */
const RATE_BAR = 0.98;
/** Bars of issue 2. */
const P99_BAR = 2;
const P999_BAR = 4;
const GAP_BAR_MS = 50;

type Turn = {
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
  readonly gapMs: number;
  readonly iops: number;
  readonly rateShare: number;
  readonly read: LatencyHistogram;
  readonly write: LatencyHistogram;
};
type Side = { readonly server: Server; readonly target: Target; readonly turns: Turn[] };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      rate: { type: 'string' },
      'turn-seconds': { type: 'string', default: '60' },
      streams: { type: 'string', default: '32' },
      'with-peer': { type: 'boolean', default: false },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const minutes = positiveOption('minutes', values.minutes);
  const turnSeconds = countOption('turn-seconds', values['turn-seconds']);
  const turns = Math.ceil((minutes * 60) / turnSeconds);
  const streams = countOption('streams', values.streams);
  const asked = values.rate === undefined ? undefined : positiveOption('rate', values.rate);
  const folder = await RigFolder.open(values.dir, 'tail');
  const ours = new Holdfast(folder.path);
  const base = new RawFile(folder.path);
  const servers: Server[] = [base, ours, ...(values['with-peer'] ? [new QemuNbd(folder)] : [])];
  try {
    requireFreeBytes(folder.path, 10 * VOLUME_BYTES);
    const sides: Side[] = [];
    for (const server of servers) {
      folder.onClose(async () => await server.stop());
      const target = await server.start(VOLUME_BYTES);
      await fillTarget(target);
      sides.push({ server, target, turns: [] });
    }
    await dropPageCache();
    const oursSide = sides.find((side) => side.server === ours);
    const rate = asked ?? (await halfOfSaturated(oursSide?.target));
    process.stdout.write(`${rate} requests a second, ${streams} streams\n`);
    for (let turn = 0; turn < turns; turn++) {
      for (const side of sides) {
        await settle();
        side.turns.push(await measureTurn(side.target, { rate, streams, turnSeconds }));
        process.stderr.write(
          `turn ${turn + 1}  ${side.server.name}  ${turnWords(side.turns.at(-1))}\n`,
        );
      }
    }
    return await report(sides, { rate, assert: values.assert, folder: folder.path });
  } finally {
    await folder.close();
  }
}

async function halfOfSaturated(target: Target | undefined): Promise<number> {
  if (target === undefined) throw new Error('Holdfast did not start');
  const result = await fio(target, [
    '--rw=randrw',
    `--rwmixread=${READ_SHARE * 100}`,
    '--bs=4k',
    '--iodepth=32',
    '--norandommap',
    '--time_based',
    `--runtime=${SATURATION_SECONDS}`,
  ]);
  return Math.round((result.read.iops + result.write.iops) / 2);
}

async function measureTurn(
  target: Target,
  options: { readonly rate: number; readonly streams: number; readonly turnSeconds: number },
): Promise<Turn> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tail-'));
  const perStream = options.rate / options.streams;
  const rates = [perStream * READ_SHARE, perStream * (1 - READ_SHARE)].map((each) =>
    Math.max(1, Math.round(each)),
  );
  try {
    const result = await fio(target, [
      '--rw=randrw',
      `--rwmixread=${READ_SHARE * 100}`,
      '--bs=4k',
      '--iodepth=1',
      `--numjobs=${options.streams}`,
      '--thread',
      '--norandommap',
      '--time_based',
      `--runtime=${options.turnSeconds}`,
      `--rate_iops=${rates.join(',')}`,
      '--rate_process=poisson',
      // Every completion with its millisecond: the gaps between them are looked for afterwards.
      `--write_lat_log=${join(folder, 'log')}`,
    ]);
    const logs = readdirSync(folder)
      .filter((name) => name.includes('_clat'))
      .map((name) => readFileSync(join(folder, name), 'latin1'));
    const latencies = readLatencies(logs);
    const asked = options.streams * rates.reduce((sum, each) => sum + each, 0);
    const iops = result.read.iops + result.write.iops;
    return {
      ...percentilesUs(latencies),
      maxUs: Math.max(result.read.latencyMaxUs, result.write.latencyMaxUs),
      gapMs: longestGapMs(logs, options.turnSeconds * 1000),
      iops,
      rateShare: iops / asked,
      ...latencies,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Of reads and writes the worse. */
function percentilesUs(of: Latencies): { readonly p99Us: number; readonly p999Us: number } {
  const worse = (percent: number): number =>
    Math.max(of.read.percentileUs(percent), of.write.percentileUs(percent));
  return { p99Us: worse(99), p999Us: worse(99.9) };
}

/** All turns of a side as one: percentiles of all its requests, the longest gap of any turn. */
function wholeOf(turns: readonly Turn[]): Turn {
  const read = new LatencyHistogram();
  const write = new LatencyHistogram();
  for (const turn of turns) {
    read.merge(turn.read);
    write.merge(turn.write);
  }
  const most = (pick: (turn: Turn) => number): number => Math.max(...turns.map(pick));
  const mean = (pick: (turn: Turn) => number): number =>
    turns.reduce((sum, turn) => sum + pick(turn), 0) / turns.length;
  return {
    ...percentilesUs({ read, write }),
    maxUs: most((each) => each.maxUs),
    gapMs: most((each) => each.gapMs),
    iops: mean((each) => each.iops),
    rateShare: mean((each) => each.rateShare),
    read,
    write,
  };
}

async function report(
  sides: readonly Side[],
  options: { readonly rate: number; readonly assert: boolean; readonly folder: string },
): Promise<number> {
  const [base, ours] = sides;
  if (base === undefined || ours === undefined) throw new Error('A side is missing');
  const wholes = sides.map((side) => ({ name: side.server.name, whole: wholeOf(side.turns) }));
  for (const { name, whole } of wholes) {
    process.stdout.write(`${name}, all ${ours.turns.length} turns: ${turnWords(whole)}\n`);
  }
  const oursWhole = wholeOf(ours.turns);
  const baseWhole = wholeOf(base.turns);
  const bars = [
    { what: 'p99 x raw file', bar: P99_BAR, measured: oursWhole.p99Us / baseWhole.p99Us },
    { what: 'p99.9 x raw file', bar: P999_BAR, measured: oursWhole.p999Us / baseWhole.p999Us },
    { what: 'longest gap, ms', bar: GAP_BAR_MS, measured: oursWhole.gapMs },
    ...wholes.map(({ name, whole }) => ({
      what: `${name}, share of the asked rate, at least`,
      bar: RATE_BAR,
      measured: whole.rateShare,
      atLeast: true,
    })),
  ];
  let missed = false;
  for (const { what, bar, measured, ...rest } of bars) {
    const met = 'atLeast' in rest ? measured >= bar : measured <= bar;
    missed ||= !met;
    process.stdout.write(
      `${what}: ${measured.toFixed(2)}, bar ${bar}: ${met ? 'met' : 'MISSED'}\n`,
    );
  }
  const results = join(REPOSITORY, 'bench', 'results');
  mkdirSync(results, { recursive: true });
  const path = join(results, `tail-${new Date().toISOString().replaceAll(/[:.]/gu, '-')}.json`);
  const figures = ({ read, write, ...rest }: Turn): object => ({
    ...rest,
    readCount: read.count,
    writeCount: write.count,
  });
  const named = sides.map(({ server, turns }) => ({
    side: server.name,
    whole: figures(wholeOf(turns)),
    turns: turns.map(figures),
  }));
  const host = await hostFacts(options.folder);
  writeFileSync(
    path,
    `${JSON.stringify({ host, rate: options.rate, sides: named, bars }, undefined, 2)}\n`,
  );
  process.stdout.write(`Written to ${path}\n`);
  return options.assert && missed ? 1 : 0;
}

function turnWords(turn: Turn | undefined): string {
  if (turn === undefined) return 'nothing';
  const { p99Us, p999Us, maxUs, gapMs, iops, rateShare } = turn;
  return (
    `p99 ${Math.round(p99Us)} µs, p99.9 ${Math.round(p999Us)} µs, slowest ${Math.round(maxUs)} µs, ` +
    `longest gap ${gapMs} ms, ${Math.round(iops)} IOPS (${(100 * rateShare).toFixed(1)} % of the asked)`
  );
}

await runRig(main);
