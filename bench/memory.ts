/**
 * `npm run bench:memory`: what the engine holds in memory with 50 volumes, each fully written in random 4 KiB blocks; what
 * each TiB of mapped data adds; and what the whole installation costs while nobody uses it.
 */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, positiveOption, UsageError } from '../src/lib/count-option.ts';
import { fio, type Target } from './lib/fio.ts';
import { requireFreeBytes, settle } from './lib/host.ts';
import { Installation } from './lib/installation.ts';
import { cpuSeconds, residentBytes, residentBytesPeak, sleep } from './lib/processes.ts';
import { RigFolder, runRig } from './lib/rig.ts';

const HELP = `npm run bench:memory -- [options]: memory with many volumes, and the cost of idleness

  --volumes N    (50)
  --scale N      part of 1 GiB written in each volume (1)
  --idle N       seconds of idleness to measure (30)
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when a bar is missed

Example: npm run bench:memory -- --scale 0.05
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
const MIB = 2 ** 20;
const GIB = 2 ** 30;
const DRIVE_SHARE = 1.05;
const DRIVE_FIXED_BYTES = 2 * GIB;
/** Bars of issue 2. */
const RESIDENT_BAR_MIB = 150;
const MAP_BAR_MIB_PER_TIB = 130;
const IDLE_BAR_PERCENT = 1;
/** The slope is taken over at least this much: the map adds 2 MiB there, what garbage collection hides is less. */
const SLOPE_BYTES_MIN = 16 * GIB;

type Point = { readonly writtenBytes: number; readonly residentBytes: number };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      volumes: { type: 'string', default: '50' },
      scale: { type: 'string' },
      idle: { type: 'string', default: '30' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const volumeCount = countOption('volumes', values.volumes);
  const volumeBytes = Math.round(positiveOption('scale', values.scale ?? '1') * 256) * 4 * MIB;
  const driveBytes =
    Math.ceil((volumeCount * volumeBytes * DRIVE_SHARE + DRIVE_FIXED_BYTES) / GIB) * GIB;
  if (volumeBytes === 0) throw new UsageError('--scale is from 0.002 on: 4 MiB is the least');
  const idleSeconds = positiveOption('idle', values.idle);
  const folder = await RigFolder.open(values.dir, 'memory');
  const installation = new Installation({ dataFolder: join(folder.path, 'data') });
  folder.onClose(async () => await installation.remove());
  try {
    requireFreeBytes(folder.path, driveBytes);
    await installation.up({ driveSizeBytes: driveBytes });
    const { enginePid } = await installation.status();
    const points = await fillVolumes(installation, { volumeCount, volumeBytes, enginePid });
    const idlePercent = await measureIdle(installation, idleSeconds);
    const measured = { points, idlePercent, peakBytes: residentBytesPeak(enginePid) };
    const judgement = judge(measured);
    // Who gives the scale knows that little was written. By default a bar that is not measured is not met.
    const complete = judgement.complete || values.scale !== undefined;
    return (judgement.met && complete) || !values.assert ? 0 : 1;
  } finally {
    await folder.close();
  }
}

/** Creates all volumes, then fills one after the other. Returns the engine's memory along the way. */
async function fillVolumes(
  installation: Installation,
  options: {
    readonly volumeCount: number;
    readonly volumeBytes: number;
    readonly enginePid: number;
  },
): Promise<Point[]> {
  const targets: Target[] = [];
  for (let index = 0; index < options.volumeCount; index++) {
    await installation.createVolume(`memory-${index}`, options.volumeBytes);
    const uri = await installation.attachNbd(`memory-${index}`);
    targets.push({ kind: 'nbd', uri, sizeBytes: options.volumeBytes });
  }
  const { enginePid } = options;
  const points: Point[] = [{ writtenBytes: 0, residentBytes: residentBytes(enginePid) }];
  for (const [index, target] of targets.entries()) {
    // fio's random map stays on: each block is written once, in random order.
    await fio(target, ['--rw=randwrite', '--bs=4k', '--iodepth=32', '--end_fsync=1']);
    const writtenBytes = (index + 1) * options.volumeBytes;
    points.push({ writtenBytes, residentBytes: residentBytes(enginePid) });
    const mib = Math.round((points.at(-1)?.residentBytes ?? 0) / MIB);
    process.stderr.write(`volume ${index + 1}/${targets.length}: engine ${mib} MiB resident\n`);
  }
  return points;
}

/** CPU of all processes of the installation while nobody uses it, in percent of one core. */
async function measureIdle(installation: Installation, seconds: number): Promise<number> {
  await settle(30_000);
  const { pids } = await installation.status();
  // Asking for the status was itself work.
  await sleep(2000);
  const before = cpuSeconds(pids);
  await sleep(seconds * 1000);
  return ((cpuSeconds(pids) - before) / seconds) * 100;
}

type Judgement = { readonly met: boolean; readonly complete: boolean };

function judge(of: {
  readonly points: readonly Point[];
  readonly idlePercent: number;
  readonly peakBytes: number;
}): Judgement {
  const { points, idlePercent } = of;
  const residentMib = of.peakBytes / MIB;
  const mapMib = slopeMibPerTib(points);
  const writtenGib = (points.at(-1)?.writtenBytes ?? 0) / GIB;
  const bars = [
    {
      what: `engine resident at most, ${points.length - 1} volumes, ${writtenGib} GiB written, MiB`,
      measured: residentMib,
      bar: RESIDENT_BAR_MIB,
    },
    ...(mapMib === undefined
      ? []
      : [
          {
            what: 'engine memory for each TiB mapped, MiB',
            measured: mapMib,
            bar: MAP_BAR_MIB_PER_TIB,
          },
        ]),
    {
      what: 'idle CPU of all processes, % of a core',
      measured: idlePercent,
      bar: IDLE_BAR_PERCENT,
    },
  ];
  for (const { what, measured, bar } of bars) {
    process.stdout.write(
      `${what}: ${measured.toFixed(2)}, bar ${bar}: ${measured <= bar ? 'met' : 'MISSED'}\n`,
    );
  }
  if (mapMib === undefined) {
    process.stdout.write(
      'engine memory for each TiB mapped: NOT MEASURED, less than 32 GiB were written\n',
    );
  }
  return { met: bars.every((each) => each.measured <= each.bar), complete: mapMib !== undefined };
}

/** Least-squares slope over the second half of the points, when caches and pools have filled; undefined over too little. */
function slopeMibPerTib(points: readonly Point[]): number | undefined {
  const late = points.slice(Math.floor(points.length / 2));
  const spanBytes = (late.at(-1)?.writtenBytes ?? 0) - (late[0]?.writtenBytes ?? 0);
  if (spanBytes < SLOPE_BYTES_MIN) return undefined;
  const mean = (pick: (point: Point) => number): number =>
    late.reduce((sum, each) => sum + pick(each), 0) / late.length;
  const meanX = mean((each) => each.writtenBytes);
  const meanY = mean((each) => each.residentBytes);
  const covariance = mean((each) => (each.writtenBytes - meanX) * (each.residentBytes - meanY));
  const variance = mean((each) => (each.writtenBytes - meanX) ** 2);
  return ((covariance / variance) * 2 ** 40) / MIB;
}

await runRig(main);
