/**
 * What the NBD frontend itself costs: a volume in memory behind it, against `nbdkit memory`, in turns, over fio's NBD client. No store and
 * no disk. One line each: rate, CPU of the server per request, ratio.
 *
 *     node bench/nbd-memory.ts [--seconds 3] [--rounds 3] [--io auto|io_uring|node] [--rows randread-4k-32,...]
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { type Target, fio } from './lib/fio.ts';
import { cpuSeconds, endProcess, run, startProcess, waitFor } from './lib/processes.ts';
import { median, pairedRatios } from './lib/statistics.ts';

const SIZE_BYTES = 268_435_456;
/** As in test/memory-server.ts. */
const ATTACH_ID = '00112233445566778899aabbccddeeff';

type Row = { readonly id: string; readonly args: readonly string[] };
type Sample = { readonly iops: number; readonly cpuUs: number };
type Side = { readonly name: string; readonly target: Target; readonly pid: number };

const ROWS: readonly Row[] = ['randread', 'randwrite'].flatMap((rw) => [
  { id: `${rw}-4k-1`, args: [`--rw=${rw}`, '--bs=4k', '--iodepth=1'] },
  { id: `${rw}-4k-32`, args: [`--rw=${rw}`, '--bs=4k', '--iodepth=32'] },
  { id: `${rw}-128k-16`, args: [`--rw=${rw}`, '--bs=128k', '--iodepth=16'] },
]);

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '3' },
    io: { type: 'string', default: 'auto' },
    rows: { type: 'string', default: '' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'holdfast-nbd-'));
const logPath = join(folder, 'log');
const ourSocket = join(folder, 'ours.sock');
const theirSocket = join(folder, 'theirs.sock');
const ours = startProcess(
  process.execPath,
  [join(import.meta.dirname, '../test/memory-server.ts'), ourSocket, String(SIZE_BYTES), values.io],
  { logPath },
);
const theirs = startProcess('nbdkit', ['-f', '-U', theirSocket, 'memory', String(SIZE_BYTES)], {
  logPath,
});
try {
  await main();
} finally {
  await endProcess(ours);
  await endProcess(theirs);
  rmSync(folder, { recursive: true });
}

async function main(): Promise<void> {
  const sides: readonly Side[] = [
    side('holdfast', `nbd+unix:///${ATTACH_ID}?socket=${ourSocket}`, ours.pid),
    side('nbdkit', `nbd+unix:///?socket=${theirSocket}`, theirs.pid),
  ];
  for (const { target } of sides) {
    if (target.kind !== 'nbd') continue;
    const answers = async (): Promise<boolean> =>
      (await run('nbdinfo', ['--size', target.uri])).exitCode === 0;
    await waitFor('the server answers', answers, { timeoutMs: 10_000 });
    await fio(target, ['--rw=write', '--bs=1M', '--iodepth=4']);
  }
  const wanted = values.rows === '' ? undefined : values.rows.split(',');
  for (const row of ROWS.filter(({ id }) => wanted?.includes(id) ?? true)) {
    await compare(row, sides);
  }
}

function side(name: string, uri: string, pid: number | undefined): Side {
  if (pid === undefined) throw new Error(`${name} did not start`);
  return { name, pid, target: { kind: 'nbd', uri, sizeBytes: SIZE_BYTES } };
}

async function compare(row: Row, sides: readonly Side[]): Promise<void> {
  const samples = sides.map((): Sample[] => []);
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const [index, each] of sides.entries()) samples[index]?.push(await measure(row, each));
  }
  const words = sides.map(({ name }, index) => {
    const iops = median((samples[index] ?? []).map((sample) => sample.iops));
    const cpuUs = median((samples[index] ?? []).map((sample) => sample.cpuUs));
    return `${name} ${(iops / 1000).toFixed(1)} k/s ${cpuUs.toFixed(1)} us`;
  });
  const [our = [], their = []] = samples.map((list) => list.map((sample) => sample.iops));
  const ratio = median(pairedRatios(our, their));
  process.stdout.write(`${row.id}: ${words.join(', ')}, ratio ${ratio.toFixed(2)}\n`);
}

async function measure(row: Row, { target, pid }: Side): Promise<Sample> {
  const before = cpuSeconds([pid]);
  const result = await fio(target, [
    ...row.args,
    '--time_based=1',
    `--runtime=${values.seconds}`,
    '--random_generator=lfsr',
  ]);
  const direction = result.read.ioCount > 0 ? result.read : result.write;
  const cpuUs = ((cpuSeconds([pid]) - before) * 1e6) / direction.ioCount;
  return { iops: direction.iops, cpuUs };
}
