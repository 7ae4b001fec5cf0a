/**
 * `npm run bench:control`: the control plane with many volumes. Creation by 16 clients, a long `volume ls`, memory and idle CPU of
 * control, and the time from a request for a small volume to its mounted file system.
 */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ApiClient } from '../src/cli/api-client.ts';
import { installationAt } from '../src/control/installation.ts';
import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { settle } from './lib/host.ts';
import { Installation } from './lib/installation.ts';
import { cpuSeconds, residentBytes, sleep } from './lib/processes.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import { median } from './lib/statistics.ts';

const HELP = `npm run bench:control -- [options]: the control plane with many volumes

  --volumes N    created by 16 clients (1000)
  --listed N     how many the list has in the end (10000)
  --cycles N     create, attach, mount of a small volume (500)
  --idle N       seconds of idleness to measure (30)
  --dir FOLDER   where a folder for the data is made (.holdfast/bench)
  --assert       exit status 1 when a bar is missed

Example: npm run bench:control -- --volumes 200 --listed 200 --cycles 20 --idle 5
`;

const REPOSITORY = fileURLToPath(new URL('../', import.meta.url));
const MIB = 2 ** 20;
const CLIENTS = 16;
const LISTS = 7;
/** Its table has 512 volumes for each GiB. */
const DRIVE_SIZE = '16GiB';
const VOLUME_BYTES = 4 * MIB;
const MOUNTED_BYTES = 64 * MIB;

type Measured = { readonly what: string; readonly value: number; readonly bar: number };

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      volumes: { type: 'string', default: '1000' },
      listed: { type: 'string', default: '10000' },
      cycles: { type: 'string', default: '500' },
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
  const listedCount = Math.max(volumeCount, countOption('listed', values.listed));
  const cycles = countOption('cycles', values.cycles);
  const idleSeconds = positiveOption('idle', values.idle);
  const folder = await RigFolder.open(values.dir, 'control');
  const installation = new Installation({ dataFolder: join(folder.path, 'data') });
  folder.onClose(async () => await installation.remove());
  const measured: Measured[] = [];
  const note = (what: string, value: number, bar: number): void => {
    measured.push({ what, value, bar });
    const verdict = value <= bar ? 'met' : 'MISSED';
    process.stdout.write(`${what}: ${value.toFixed(2)}, bar ${bar}: ${verdict}\n`);
  };
  try {
    await installation.command(['up', '--detach', '--sparse', '--drive-size', DRIVE_SIZE]);
    // A drive's table has 8,192 volumes at most.
    await installation.command(['drive', 'add', 'second', '--sparse', '--size', DRIVE_SIZE]);
    const api = new ApiClient([installationAt(installation.dataFolder)]);
    const control = await controlPid(api);
    await cycle(api, { cycles, note });
    note(
      `${volumeCount} volumes created by ${CLIENTS} clients, s`,
      await createAll(api, { from: 0, to: volumeCount }),
      (10 * volumeCount) / 1000,
    );
    await settle(30_000);
    await sleep(2000);
    const before = cpuSeconds([control]);
    await sleep(idleSeconds * 1000);
    const idle = ((cpuSeconds([control]) - before) / idleSeconds) * 100;
    note(`control idle with ${volumeCount} volumes, % of a core`, idle, 0.5);
    note(`control resident, MiB`, residentBytes(control) / MIB, 150);
    await createAll(api, { from: volumeCount, to: listedCount });
    const lists: number[] = [];
    for (let round = 0; round < LISTS; round++) {
      lists.push(await timeMs(() => installation.command(['volume', 'ls'])));
    }
    note(`holdfast volume ls of ${listedCount}, ms`, median(lists), 300);
    return measured.every(({ value, bar }) => value <= bar) || !values.assert ? 0 : 1;
  } finally {
    await folder.close();
  }
}

async function controlPid(api: ApiClient): Promise<number> {
  const { processes } = await api.get<StatusView>('/v1/status');
  return processes['control']?.pid ?? Number.NaN;
}

async function timeMs(task: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await task();
  return performance.now() - began;
}

/** Returns seconds. */
async function createAll(
  api: ApiClient,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<number> {
  let next = from;
  const client = async (): Promise<void> => {
    while (next < to) {
      const index = next++;
      const drive = index % 2 === 0 ? 'default' : 'second';
      const name = `many-${index}`;
      await api.post<VolumeView>('/v1/volumes', { name, drive, sizeBytes: VOLUME_BYTES });
    }
  };
  const ms = await timeMs(() => Promise.all(Array.from({ length: CLIENTS }, client)));
  return ms / 1000;
}

/** Create, attach and mount of a small volume, one after the other; unmount and removal are not timed. */
async function cycle(
  api: ApiClient,
  options: {
    readonly cycles: number;
    readonly note: (what: string, value: number, bar: number) => void;
  },
): Promise<void> {
  const times: number[] = [];
  for (let round = 0; round < options.cycles; round++) {
    const url = `/v1/volumes/cycle-${round}`;
    times.push(
      await timeMs(async () => {
        await api.post('/v1/volumes', { name: `cycle-${round}`, sizeBytes: MOUNTED_BYTES });
        await api.put(`${url}/attachment`, { as: 'device' });
        await api.put(`${url}/mount`, { fs: 'ext4' });
      }),
    );
    await api.delete(`${url}/mount`);
    await api.delete(`${url}/attachment`);
    await api.delete(`${url}?now=true`);
  }
  const sorted = times.toSorted((a, b) => a - b);
  const p99 = sorted[Math.ceil(sorted.length * 0.99) - 1] ?? Number.NaN;
  process.stdout.write(`create, attach, mount: median ${median(times).toFixed(0)} ms\n`);
  options.note(`create, attach, mount, p99 of ${options.cycles}, ms`, p99, 800);
}

await runRig(main);
