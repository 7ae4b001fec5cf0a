/**
 * `npm run bench`: Holdfast, the raw file and qemu-nbd in turns in one run. Whoever goes first changes from round to
 * round, so that no side owns the quiet moments; the bars are judged by ratios within one round.
 */

import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { fillTarget, type Target, warmUp } from './lib/fio.ts';
import { dropPageCache, hostFacts, requireFreeBytes, settle } from './lib/host.ts';
import { comparisonOptions, named } from './lib/plan.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import type { Server } from './lib/server.ts';
import { measureRow, type Sample } from './measure.ts';
import { allMet, judge, publish, type Report, type RowSamples, sideFacts } from './report.ts';
import { ROWS, type Row } from './rows.ts';
import { Holdfast } from './servers/holdfast.ts';
import { QemuNbd } from './servers/qemu-nbd.ts';
import { RawFile } from './servers/raw-file.ts';
import { Replicated } from './servers/replicated.ts';

const HELP = `npm run bench -- [options]: measures Holdfast against the raw file and qemu-nbd

  --quick           one round of 1 s or less a row, within 60 s; not for claims
  --rounds N        interleaved rounds (7)
  --seconds N       seconds of each measurement (5)
  --rows ID,ID      only these rows (${ROWS.map((row) => row.id).join(', ')})
  --only NAME,NAME  only these systems: holdfast, raw, qemu-nbd; beside these, replicated: three replicas on
                    drives of one engine
  --dir FOLDER      where a folder for the data is made; one file system for all (.holdfast/bench)
  --assert          exit status 1 when a bar is missed or a row has nothing to judge

Example: npm run bench -- --rows randread-4k-32,randwrite-4k-32 --rounds 3
`;

const VOLUME_BYTES = 2 ** 30;
const QUICK_VOLUME_BYTES = 256 * 2 ** 20;
/** Fresh volumes are larger: at 100,000 first writes a second, 5 s need 2 GiB. */
const FRESH_FACTOR = 2;
/** The quick form ends within this; what does not fit any more is left out, and said. */
const QUICK_LIMIT_MS = 60_000;
/** Kept for the table and the end of the servers. */
const QUICK_END_MS = 7000;
const QUICK_SECONDS_MIN = 0.2;
/** What a measurement takes beside the load: fio's start; in the long form also the wait for a quiet machine. */
const OVERHEAD_SECONDS = { quick: 0.5, long: 1.5 };
/** Starting a server, writing its volume, warming it up; and ending it. */
const SERVER_SECONDS = { quick: 5, long: 12 };
/** Three volumes, the never-written one, and the rest of Holdfast's drive. */
const SPACE_VOLUMES = 12;

type Plan = {
  readonly rounds: number;
  readonly seconds: number;
  readonly volumeBytes: number;
  readonly rows: readonly Row[];
  readonly names: readonly ServerName[];
  readonly folder: string;
  readonly quick: boolean;
  readonly assert: boolean;
};

type ServerName = keyof typeof SERVERS;

const SERVERS = {
  raw: (folder: RigFolder): Server => new RawFile(folder.path),
  holdfast: (folder: RigFolder): Server => new Holdfast(folder.path),
  'qemu-nbd': (folder: RigFolder): Server => new QemuNbd(folder),
  replicated: (folder: RigFolder): Server => new Replicated(folder),
} as const;
const SERVER_NAMES: readonly ServerName[] = ['raw', 'holdfast', 'qemu-nbd', 'replicated'];

type Side = { readonly server: Server; readonly target: Target };

async function main(): Promise<number> {
  const plan = parsePlan();
  if (plan === undefined) return 0;
  announce(plan);
  const folder = await RigFolder.open(plan.folder, 'bench');
  const startedAt = new Date().toISOString();
  try {
    requireFreeBytes(folder.path, SPACE_VOLUMES * plan.volumeBytes);
    const dropped = await dropPageCache();
    const sides = await startAll(plan, folder);
    const rows = await measureAll(plan, sides);
    const roles = { ours: 'Holdfast', base: 'raw file', peer: 'qemu-nbd' };
    const report: Report = {
      startedAt,
      host: await hostFacts(plan.folder),
      conditions: conditions(plan, dropped),
      sides: await Promise.all(sides.map(({ server }) => sideFacts(server))),
      rows,
      verdicts: judge(rows, roles),
    };
    publish('bench', report);
    const met = allMet(plan.rows, report.verdicts);
    if (!met) process.stdout.write('A bar is missed, or a row was not judged\n');
    return plan.assert && !met ? 1 : 0;
  } finally {
    await folder.close();
  }
}

function parsePlan(): Plan | undefined {
  const values = comparisonOptions(HELP);
  if (values === undefined) return undefined;
  return {
    rounds: countOption('rounds', values.rounds ?? (values.quick ? '1' : '7')),
    seconds: positiveOption('seconds', values.seconds ?? (values.quick ? '1' : '5')),
    volumeBytes: values.quick ? QUICK_VOLUME_BYTES : VOLUME_BYTES,
    rows: named(values.rows, { all: ROWS, nameOf: ({ id }) => id }),
    names: named<ServerName>(values.only, {
      all: SERVER_NAMES,
      otherwise: ['raw', 'holdfast', 'qemu-nbd'],
      nameOf: (name) => name,
    }),
    folder: values.dir,
    quick: values.quick,
    assert: values.assert,
  };
}

/** Says before it begins what it will take. */
function announce(plan: Plan): void {
  const form = plan.quick ? 'quick' : 'long';
  const seconds =
    plan.names.length * SERVER_SECONDS[form] +
    measurementCount(plan) * (plan.seconds + OVERHEAD_SECONDS[form]);
  const words = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
  const limit = plan.quick ? `; what does not fit into ${QUICK_LIMIT_MS / 1000} s is left out` : '';
  progress(`${measurementCount(plan)} measurements, about ${words} on a quiet machine${limit}`);
}

function measurementCount(plan: Plan): number {
  const ofRow = (row: Row): number => {
    if (row.freshAgainst === undefined) return plan.names.length;
    return plan.names.includes('holdfast') ? 1 : 0;
  };
  return plan.rounds * plan.rows.reduce((sum, row) => sum + ofRow(row), 0);
}

/** How long the next measurement runs, or undefined if there is no time left for it. */
function secondsOfNext(plan: Plan, remainingCount: number): number | undefined {
  if (!plan.quick) return plan.seconds;
  const leftMs = QUICK_LIMIT_MS - QUICK_END_MS - performance.now();
  if (leftMs / 1000 < QUICK_SECONDS_MIN + OVERHEAD_SECONDS.quick) return undefined;
  const share = leftMs / 1000 / remainingCount - OVERHEAD_SECONDS.quick;
  return Math.min(plan.seconds, Math.max(QUICK_SECONDS_MIN, share));
}

async function startAll(plan: Plan, folder: RigFolder): Promise<Side[]> {
  const sides: Side[] = [];
  for (const name of plan.names) {
    const server = SERVERS[name](folder);
    folder.onClose(async () => await server.stop());
    progress(`Starting ${server.name} and writing its volume in full`);
    const target = await server.start(plan.volumeBytes);
    await fillTarget(target);
    await warmUp(target);
    sides.push({ server, target });
  }
  await dropPageCache();
  return sides;
}

async function measureAll(plan: Plan, sides: readonly Side[]): Promise<RowSamples[]> {
  const samples = new Map<string, Sample[]>();
  let remainingCount = measurementCount(plan);
  for (let round = 0; round < plan.rounds; round++) {
    // Each round starts with another side.
    const turn = sides.map((_, index) => sides[(index + round) % sides.length]);
    for (const row of plan.rows) {
      for (const side of turn) {
        // Never-written space is measured on Holdfast alone.
        if (side === undefined) continue;
        if (row.freshAgainst !== undefined && !(side.server instanceof Holdfast)) continue;
        const seconds = secondsOfNext(plan, remainingCount--);
        if (seconds === undefined) {
          progress(`NOT MEASURED, out of time: ${row.id}  ${side.server.name}`);
          continue;
        }
        const sample = await measureOne(plan, row, { ...side, seconds });
        const key = `${row.id} ${side.server.name}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        const iops = Math.round(sample.iops);
        progress(`round ${round + 1}/${plan.rounds}  ${row.id}  ${side.server.name}  ${iops} IOPS`);
      }
    }
  }
  return plan.rows.map((row) => ({
    row,
    sides: sides.flatMap(({ server }) => {
      const found = samples.get(`${row.id} ${server.name}`);
      return found === undefined ? [] : [{ side: server.name, samples: found }];
    }),
  }));
}

async function measureOne(
  plan: Plan,
  row: Row,
  side: Side & { readonly seconds: number },
): Promise<Sample> {
  const { server, seconds } = side;
  const measure = async (target: Target): Promise<Sample> => {
    if (!plan.quick) await settle();
    return await measureRow(row, { target, serverPids: server.pids(), seconds });
  };
  if (row.freshAgainst === undefined || !(server instanceof Holdfast))
    return await measure(side.target);
  return await server.withFreshVolume(FRESH_FACTOR * plan.volumeBytes, measure);
}

function conditions(plan: Plan, cacheDropped: boolean): string[] {
  return [
    `${plan.rounds} interleaved rounds of ${plan.quick ? 'at most ' : ''}${plan.seconds} s, volumes of ${plan.volumeBytes / 2 ** 20} MiB written in full first.`,
    cacheDropped
      ? 'The page cache was dropped first.'
      : 'The page cache could not be dropped (not root): figures may flatter any side.',
    ...(plan.quick ? ['**Quick form: shows that it runs, proves nothing.**'] : []),
    'Noise: processor time of the machine that neither fio nor the server used, kernel threads included.',
  ];
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

await runRig(main);
