/**
 * `npm run bench:cold`: far more data than the engine has memory for. 40 GiB are written, then read at random, depth 32,
 * through Holdfast and, in turns, from the drive's own file: the same blocks of the same disk without Holdfast.
 */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { fio, fillTarget, type Target } from './lib/fio.ts';
import { dropPageCache, requireFreeBytes, settle } from './lib/host.ts';
import { Installation } from './lib/installation.ts';
import { residentBytesPeak } from './lib/processes.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import { pairedRatios, summarize } from './lib/statistics.ts';

const HELP = `npm run bench:cold -- [options]: random reads over much more data than the engine holds in memory

  --gib N        written and read (40)
  --rounds N     (7)
  --seconds N    of each measurement (5)
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when a bar is missed

Example: npm run bench:cold -- --gib 4 --rounds 3
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
const GIB = 2 ** 30;
/** Metadata is 1 MiB in 64, and the log is 512 MiB. */
const DRIVE_SHARE = 1.05;
const DRIVE_FIXED_BYTES = 2 * GIB;
const RATIO_BAR = 0.45;
/** "Engine <= 150 MiB resident", and 130 MiB for each TiB mapped. */
const RESIDENT_BAR_BYTES = 150 * 2 ** 20;
const RESIDENT_BAR_BYTES_PER_TIB = 130 * 2 ** 20;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      gib: { type: 'string', default: '40' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '5' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const volumeBytes = positiveOption('gib', values.gib) * GIB;
  const driveBytes = Math.ceil((volumeBytes * DRIVE_SHARE + DRIVE_FIXED_BYTES) / GIB) * GIB;
  const rounds = {
    count: countOption('rounds', values.rounds),
    seconds: positiveOption('seconds', values.seconds),
  };
  const folder = await RigFolder.open(values.dir, 'cold');
  const installation = new Installation({ dataFolder: join(folder.path, 'data') });
  folder.onClose(async () => await installation.remove());
  try {
    requireFreeBytes(folder.path, driveBytes);
    await installation.up({ driveSizeBytes: driveBytes });
    await installation.createVolume('cold', volumeBytes);
    const uri = await installation.attachNbd('cold');
    const ours: Target = { kind: 'nbd', uri, sizeBytes: volumeBytes };
    await fillTarget(ours);
    const { drives, enginePid } = await installation.status();
    const path = drives[0]?.path;
    if (path === undefined) throw new Error('The status names no drive');
    const raw: Target = { kind: 'file', path, sizeBytes: driveBytes };
    await dropPageCache();
    const measured = await measure({ ours, raw, enginePid }, rounds);
    return judge(measured, volumeBytes) || !values.assert ? 0 : 1;
  } finally {
    await folder.close();
  }
}

type Measured = {
  readonly ours: readonly number[];
  readonly raw: readonly number[];
  /** Of the engine's whole life, the fill included. */
  readonly residentBytesMax: number;
};

async function measure(
  on: { readonly ours: Target; readonly raw: Target; readonly enginePid: number },
  rounds: { readonly count: number; readonly seconds: number },
): Promise<Measured> {
  const iops = { ours: [] as number[], raw: [] as number[] };
  for (let round = 0; round < rounds.count; round++) {
    // Each round starts with the other side.
    for (const side of round % 2 === 0 ? (['ours', 'raw'] as const) : (['raw', 'ours'] as const)) {
      await settle();
      const result = await fio(on[side], [
        '--rw=randread',
        '--bs=4k',
        '--iodepth=32',
        '--norandommap',
        // Drawn from 64 bits: the default generator repeats itself on large files.
        '--random_generator=tausworthe64',
        '--time_based',
        `--runtime=${Math.round(rounds.seconds * 1000)}ms`,
      ]);
      iops[side].push(result.read.iops);
      process.stderr.write(`round ${round + 1}  ${side}  ${Math.round(result.read.iops)} IOPS\n`);
    }
  }
  return { ...iops, residentBytesMax: residentBytesPeak(on.enginePid) };
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(0);
}

function judge(measured: Measured, volumeBytes: number): boolean {
  const ratio = summarize(pairedRatios(measured.ours, measured.raw));
  const ours = summarize(measured.ours);
  const raw = summarize(measured.raw);
  const residentBar =
    RESIDENT_BAR_BYTES + Math.ceil((volumeBytes / 2 ** 40) * RESIDENT_BAR_BYTES_PER_TIB);
  const words = (each: typeof ours): string =>
    `${Math.round(each.median)} IOPS (${Math.round(each.min)} to ${Math.round(each.max)})`;
  const ratioMet = ratio.median >= RATIO_BAR;
  const residentMet = measured.residentBytesMax <= residentBar;
  process.stdout.write(
    `4 KiB randread, depth 32, over ${volumeBytes / GIB} GiB: Holdfast ${words(ours)}, raw file ${words(raw)}\n` +
      `x raw file: ${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)} to ${ratio.max.toFixed(2)}), ` +
      `bar ${RATIO_BAR}: ${ratioMet ? 'met' : 'MISSED'}\n` +
      `engine resident at most: ${mib(measured.residentBytesMax)} MiB, bar ${mib(residentBar)}: ` +
      `${residentMet ? 'met' : 'MISSED'}\n`,
  );
  return ratioMet && residentMet;
}

await runRig(main);
