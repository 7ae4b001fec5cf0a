/**
 * `npm run bench:flush`: how many flushes one fdatasync serves. At depth 1 it is one each; 32 clients that flush after
 * each write share them. The second half repeats that with every fdatasync slowed by 2 ms, as on a disk without a fast
 * cache: there only sharing keeps 32 clients 8 times as fast as one.
 */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { countFlushes, type FlushCounts } from './lib/fdatasyncs.ts';
import { fillTarget, fio, type Target } from './lib/fio.ts';
import { requireFreeBytes, settle } from './lib/host.ts';
import { Installation } from './lib/installation.ts';
import { RigFolder, runRig } from './lib/rig.ts';

const HELP = `npm run bench:flush -- [options]: flushes per fdatasync, and the same on a slow disk

  --seconds N    of each measurement (5)
  --delay-us N   by how much the slow half delays each fdatasync (2000)
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when a bar is missed

Example: npm run bench:flush -- --seconds 2
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
const HOOKS = new URL('../test/hooks/load.mjs', import.meta.url).href;
const VOLUME_BYTES = 256 * 2 ** 20;
const DRIVE_BYTES = 2 * 2 ** 30;
const CLIENTS = 32;
/** Bars of issue 2. */
const SHARED_BAR = 8;
const SLOW_SPEEDUP_BAR = 8;
/** "One fdatasync each", give or take the engine's own flush once a second. */
const SINGLE_BAR = [0.95, 1.05] as const;

type Load = { readonly name: string; readonly args: readonly string[] };
type Measured = {
  readonly writesPerSecond: number;
  readonly flushes: number;
  readonly counted: FlushCounts;
};

const LOADS: readonly Load[] = [
  { name: '1 client, flush after each write', args: ['--iodepth=1'] },
  {
    name: `${CLIENTS} clients, each flushes after each write`,
    args: ['--iodepth=1', `--numjobs=${CLIENTS}`, '--thread'],
  },
  // fio does not wait for the write before it sends the flush here, so this is a stream, not what a database does.
  { name: `1 client, depth ${CLIENTS}, a flush behind each write`, args: [`--iodepth=${CLIENTS}`] },
];

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      'delay-us': { type: 'string', default: '2000' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seconds = positiveOption('seconds', values.seconds);
  const delayUs = countOption('delay-us', values['delay-us']);
  const plain = await measureAll(values.dir, { seconds, env: {} });
  const slow = await measureAll(values.dir, {
    seconds,
    env: {
      NODE_OPTIONS: `--import=${HOOKS}`,
      HOLDFAST_TEST_HOOKS: 'slow-flush-io',
      HOLDFAST_TEST_FLUSH_DELAY_US: String(delayUs),
    },
  });
  print('as it is', plain);
  print(`each fdatasync slowed by ${delayUs} µs`, slow);
  return judge(plain, slow) || !values.assert ? 0 : 1;
}

async function measureAll(
  parent: string,
  options: { readonly seconds: number; readonly env: Readonly<Record<string, string>> },
): Promise<Measured[]> {
  const folder = await RigFolder.open(parent, 'flush');
  const dataFolder = join(folder.path, 'data');
  const installation = new Installation({ dataFolder, env: options.env });
  folder.onClose(async () => await installation.remove());
  try {
    requireFreeBytes(folder.path, DRIVE_BYTES);
    await installation.up({ driveSizeBytes: DRIVE_BYTES });
    await installation.createVolume('flush', VOLUME_BYTES);
    const uri = await installation.attachNbd('flush');
    const target: Target = { kind: 'nbd', uri, sizeBytes: VOLUME_BYTES };
    await fillTarget(target);
    const { enginePid } = await installation.status();
    const measured: Measured[] = [];
    for (const load of LOADS) {
      await settle();
      const { result, flushes } = await countFlushes({ pid: enginePid, folder: dataFolder }, () =>
        fio(target, [
          ...load.args,
          '--rw=randwrite',
          '--bs=4k',
          '--fsync=1',
          '--norandommap',
          '--time_based',
          `--runtime=${Math.round(options.seconds * 1000)}ms`,
        ]),
      );
      measured.push({
        writesPerSecond: result.write.iops,
        flushes: result.flushCount,
        counted: flushes,
      });
    }
    return measured;
  } finally {
    await folder.close();
  }
}

function print(title: string, measured: readonly Measured[]): void {
  process.stdout.write(`\n${title}\n`);
  for (const [index, each] of measured.entries()) {
    const { calls, device } = each.counted;
    process.stdout.write(
      `  ${LOADS[index]?.name}: ${Math.round(each.writesPerSecond)} writes/s, ${each.flushes} flushes, ` +
        `${calls ?? 'uncounted'} fdatasyncs (disk: ${device ?? 'uncounted'}), ` +
        `${perFdatasync(each).toFixed(2)} flushes for each\n`,
    );
  }
}

/** By the kernel's count of calls, else by the disk's count of flush requests. */
function perFdatasync(measured: Measured): number {
  const syncs = measured.counted.calls ?? measured.counted.device;
  if (syncs === undefined) throw new Error('Neither perf nor the disk counts flushes here');
  return measured.flushes / syncs;
}

function judge(plain: readonly Measured[], slow: readonly Measured[]): boolean {
  const [single, shared] = plain;
  const [slowSingle, slowShared] = slow;
  if (!single || !shared || !slowSingle || !slowShared) throw new Error('A measurement is missing');
  const [least, most] = SINGLE_BAR;
  const speedup = slowShared.writesPerSecond / slowSingle.writesPerSecond;
  const bars = [
    ...[
      { what: 'flushes per fdatasync, 1 client', one: perFdatasync(single) },
      { what: 'flushes per fdatasync, 1 client, slow', one: perFdatasync(slowSingle) },
    ].map(({ what, one }) => ({
      what,
      measured: one,
      met: one >= least && one <= most,
      bar: '1',
    })),
    {
      what: `flushes per fdatasync, ${CLIENTS} clients`,
      measured: perFdatasync(shared),
      met: perFdatasync(shared) >= SHARED_BAR,
      bar: `>= ${SHARED_BAR}`,
    },
    {
      what: `flushes per fdatasync, ${CLIENTS} clients, slow`,
      measured: perFdatasync(slowShared),
      met: perFdatasync(slowShared) >= SHARED_BAR,
      bar: `>= ${SHARED_BAR}`,
    },
    {
      what: `slow: ${CLIENTS} clients against 1, writes/s`,
      measured: speedup,
      met: speedup >= SLOW_SPEEDUP_BAR,
      bar: `>= ${SLOW_SPEEDUP_BAR}`,
    },
  ];
  process.stdout.write('\n');
  for (const { what, measured, bar, met } of bars) {
    process.stdout.write(
      `${what}: ${measured.toFixed(2)}, bar ${bar}: ${met ? 'met' : 'MISSED'}\n`,
    );
  }
  return bars.every((each) => each.met);
}

await runRig(main);
