/**
 * `npm run bench:rebuild`: what it takes to make a replica equal, on three engines over TCP, all on one machine and disk: a new replica
 * against nbdcopy between two such drives; what is copied after an absence; clients' latency meanwhile. The bars are those of issue 4.
 */

import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { fillTarget, fio, type Target, warmUp } from './lib/fio.ts';
import { dropPageCache, hostFacts, requireFreeBytes, settle } from './lib/host.ts';
import { comparisonOptions, named } from './lib/plan.ts';
import { cpuSeconds } from './lib/processes.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import { median, summarize } from './lib/statistics.ts';
import {
  allMet,
  atLeast,
  atMost,
  type Judged,
  publish,
  sideFacts,
  type Verdict,
} from './report.ts';
import { Rebuilds, VolumeCopies } from './servers/rebuilds.ts';
import { ThreeEngines } from './servers/three-engines.ts';

const VOLUME_BYTES = 2 ** 30;
const QUICK_VOLUME_BYTES = 256 * 2 ** 20;
const EXTENT_BYTES = 65_536;
const BLOCK_BYTES = 4096;
/** Of each drive: the replica, a new one beside it, nbdcopy's volume, and room for what is written before the old is free. */
const DRIVE_VOLUMES = 5;
/** What is written while a replica is away: one block in each extent of a quarter of the volume. */
const MISSED_SHARE = 0.25;
const STREAMS = 16;
const READ_SHARE = 0.7;
const SATURATION_SECONDS = 5;

type Rig = {
  readonly three: ThreeEngines;
  readonly target: Target;
  readonly rebuilds: Rebuilds;
  readonly copies: VolumeCopies;
  /** Of clients, beside a rebuild and without one. */
  readonly seconds: number;
  /** Requests a second of all clients: half of what they get at most. */
  readonly rate: number;
};

type Measured = {
  readonly ratio: number;
  /** What it is made of, by what it is. */
  readonly figures: { readonly [what: string]: number };
};

type Row = {
  readonly id: string;
  readonly what: string;
  readonly bar: number;
  readonly judge: (input: Omit<Judged, 'kind'>) => Verdict;
  readonly measure: (rig: Rig, round: number) => Promise<Measured>;
};

const ROWS: readonly Row[] = [
  { id: 'full', what: 'rate x nbdcopy', bar: 0.6, judge: atLeast, measure: makeNew },
  { id: 'delta', what: 'copied x written', bar: 1.1, judge: atMost, measure: missSome },
  { id: 'clients', what: 'p99 x p99 alone', bar: 2, judge: atMost, measure: rebuildBeside },
];

const HELP = `npm run bench:rebuild -- [options]: measures how replicas are made equal

  --quick        one round on small volumes, clients for 5 s; not for claims
  --rounds N     interleaved rounds (5)
  --seconds N    of clients beside a rebuild, and without one (20)
  --rows ID,ID   only these rows (${ROWS.map((row) => row.id).join(', ')})
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when a bar is missed or a row has nothing to judge

Example: npm run bench:rebuild -- --rows full --rounds 3
`;

async function main(): Promise<number> {
  const values = comparisonOptions(HELP);
  if (values === undefined) return 0;
  const rows = named(values.rows, { all: ROWS, nameOf: ({ id }) => id });
  const rounds = countOption('rounds', values.rounds ?? (values.quick ? '1' : '5'));
  const seconds = positiveOption('seconds', values.seconds ?? (values.quick ? '5' : '20'));
  const volumeBytes = values.quick ? QUICK_VOLUME_BYTES : VOLUME_BYTES;
  const folder = await RigFolder.open(values.dir, 'rebuild');
  const startedAt = new Date().toISOString();
  try {
    requireFreeBytes(folder.path, 3 * DRIVE_VOLUMES * volumeBytes);
    const rig = await start(folder, { volumeBytes, seconds });
    const measured = new Map<Row, Measured[]>(rows.map((row) => [row, []]));
    for (let round = 0; round < rounds; round += 1) {
      for (const row of rows) {
        await settle();
        const one = await row.measure(rig, round);
        measured.get(row)?.push(one);
        progress(`round ${round + 1}/${rounds}  ${row.id}  ${figuresText([one])}`);
      }
    }
    const verdicts = rows.map((row) => verdictOf(row, measured.get(row) ?? []));
    publish('rebuild', {
      startedAt,
      host: await hostFacts(values.dir),
      conditions: [
        `${rounds} rounds, volumes of ${volumeBytes / 2 ** 20} MiB written in full first; all drives share one disk and one machine.`,
        `Clients: ${STREAMS} Poisson streams of 4 KiB, ${READ_SHARE * 100} % reads, ${rig.rate} requests a second in all.`,
        ...rows.map((row) => `${row.id}: ${figuresText(measured.get(row) ?? [])}`),
      ],
      sides: [await sideFacts(rig.three)],
      rows: [],
      verdicts,
    });
    return values.assert && !allMet(rows, verdicts) ? 1 : 0;
  } finally {
    await folder.close();
  }
}

async function start(
  folder: RigFolder,
  { volumeBytes, seconds }: { readonly volumeBytes: number; readonly seconds: number },
): Promise<Rig> {
  const three = new ThreeEngines(folder, {
    name: 'three engines, in clear',
    sealed: false,
    isFua: false,
    driveVolumes: DRIVE_VOLUMES,
  });
  folder.onClose(async () => await three.stop());
  progress('Starting three engines and writing the volumes in full');
  const target = await three.start(volumeBytes);
  await fillTarget(target);
  await warmUp(target);
  const copies = new VolumeCopies(three, volumeBytes);
  await fillTarget(await copies.start());
  await dropPageCache();
  const rate = Math.round((await clients(target, SATURATION_SECONDS)).iops / 2);
  const rebuilds = new Rebuilds(three, volumeBytes);
  return { three, target, rebuilds, copies, seconds, rate };
}

/** A new replica, and nbdcopy; each round begins with the other one. */
async function makeNew({ three, target, rebuilds, copies }: Rig, round: number): Promise<Measured> {
  const figures: Record<string, number> = {};
  const turns = [
    { name: 'a new replica', copy: () => rebuilds.replace() },
    { name: 'nbdcopy', copy: () => copies.copy() },
  ];
  for (const { name, copy } of round % 2 === 0 ? turns : turns.toReversed()) {
    await settle();
    const before = cpuSeconds(three.pids());
    figures[`${name}, s`] = await copy();
    const cpuUs = (cpuSeconds(three.pids()) - before) * 1e6;
    figures[`${name}, µs CPU of the engines per extent`] =
      (cpuUs * EXTENT_BYTES) / target.sizeBytes;
  }
  return { ratio: figures['nbdcopy, s']! / figures['a new replica, s']!, figures };
}

async function missSome({ target, rebuilds }: Rig): Promise<Measured> {
  const written = Math.floor((target.sizeBytes * MISSED_SHARE) / EXTENT_BYTES);
  const { seconds, copiedBytes } = await rebuilds.miss(async () => {
    const args = [`--rw=write:${EXTENT_BYTES - BLOCK_BYTES}`, `--bs=${BLOCK_BYTES}`];
    await fio(target, [...args, '--iodepth=8', `--io_size=${written * BLOCK_BYTES}`]);
  });
  const copied = copiedBytes / EXTENT_BYTES;
  const figures = { 'extents written': written, 'extents copied': copied, s: seconds };
  return { ratio: copied / written, figures };
}

/** Clients at half of their saturated rate, while one new replica after the other is made. */
async function rebuildBeside({ target, rebuilds, seconds, rate }: Rig): Promise<Measured> {
  const alone = await clients(target, seconds, rate);
  await settle();
  let isOver = false;
  let made = 0;
  const rebuilding = (async (): Promise<void> => {
    for (; !isOver; made += 1) await rebuilds.replace();
  })();
  const beside = await clients(target, seconds, rate).finally(() => (isOver = true));
  await rebuilding;
  const figures = {
    'p99 alone, µs': alone.p99Us,
    'p99 beside, µs': beside.p99Us,
    'replicas made': made,
    'share of the asked rate': beside.iops / rate,
  };
  return { ratio: beside.p99Us / alone.p99Us, figures };
}

/** Without a rate as fast as they can. Of reads and writes the worse. */
async function clients(
  target: Target,
  seconds: number,
  rate?: number,
): Promise<{ readonly iops: number; readonly p99Us: number }> {
  const shareOf = (share: number): number => Math.max(1, Math.round((share * rate!) / STREAMS));
  const rates = `--rate_iops=${shareOf(READ_SHARE)},${shareOf(1 - READ_SHARE)}`;
  const { read, write } = await fio(target, [
    '--rw=randrw',
    `--rwmixread=${READ_SHARE * 100}`,
    '--bs=4k',
    '--iodepth=1',
    `--numjobs=${STREAMS}`,
    '--thread',
    '--norandommap',
    '--time_based',
    `--runtime=${seconds}`,
    ...(rate === undefined ? [] : [rates, '--rate_process=poisson']),
  ]);
  const p99Us = [read, write].map(({ percentilesUs }) => percentilesUs.get('99.000000') ?? NaN);
  return { iops: read.iops + write.iops, p99Us: Math.max(...p99Us) };
}

function verdictOf({ id, what, bar, judge }: Row, measured: readonly Measured[]): Verdict {
  return judge({ rowId: id, what, measured: median(measured.map(({ ratio }) => ratio)), bar });
}

/** Medians, with least and most. */
function figuresText(measured: readonly Measured[]): string {
  const short = (value: number): string =>
    value.toLocaleString('en-US', { maximumFractionDigits: 2 });
  return Object.keys(measured[0]?.figures ?? {})
    .map((what) => {
      const found = summarize(measured.map(({ figures }) => figures[what] ?? NaN));
      const range = found.count > 1 ? ` (${short(found.min)} to ${short(found.max)})` : '';
      return `${what} ${short(found.median)}${range}`;
    })
    .join('; ');
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

await runRig(main);
