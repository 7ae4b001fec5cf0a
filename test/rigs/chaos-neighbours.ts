/** `npm run chaos:idle-neighbours`: a machine that is busy with others, and processes that stop for a moment, are no reason to drop anybody. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism, loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

import { runRig } from '../../bench/lib/rig.ts';
import type { VolumeView } from '../../src/control/schemas.ts';
import { readStore } from '../../src/control/open-store.ts';
import { countOption } from '../../src/lib/count-option.ts';
import { Prng } from '../../src/lib/prng.ts';
import { openRigDirectory } from './chaos-folder.ts';
import { NODES, Stage } from './node-stage.ts';
import { VerifyingLoad } from './verifying-load.ts';

const HELP = `npm run chaos:idle-neighbours -- [options]: nobody may be taken for dead who is only slow

  --minutes N     how long (3)
  --seed N        of who is stopped when; printed, random by default
  --dir FOLDER    where folders for the nodes are made (.holdfast/chaos)

All cores are kept busy by other programs, and every 10 s a process of a node is stopped for 200 ms, while a volume is written to.
No replica may leave its set, and no head be replaced.

Example: npm run chaos:idle-neighbours -- --minutes 30
`;

const VOLUME_BYTES = 32 * 2 ** 20;
const DEPTH = 4;
const EVERY_MS = 10_000;
const STOP_MS = 200;
/** The load must not give up before the run does. */
const RECONNECT_MS = 60_000;

/** Programs that want all cores, and die with this one. */
function startNeighbours(): ChildProcess[] {
  return Array.from({ length: availableParallelism() }, () =>
    spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, '-e', 'for (;;);']),
  );
}

/** The volume's set as the store has it: each change of it has a number. */
async function epochOf(stage: Stage, volumeId: string): Promise<number> {
  const store = await readStore(stage.cluster.node('a').installation.directory);
  const { value } = (await store?.get(`set/${volumeId}`)) ?? {};
  await store?.close();
  assert.ok(typeof value === 'object' && value !== null && 'epoch' in value, 'it has a set');
  return Number(value.epoch);
}

async function run(stage: Stage, seconds: number, random: Prng): Promise<number> {
  const { api } = stage.cluster.node('a');
  const replicas = { count: NODES.length, spread: { level: 'zone', isHard: true } };
  const body = { name: 'db', sizeBytes: VOLUME_BYTES, replicas };
  const { id } = await api.post<VolumeView>('/v1/volumes', body);
  const path = '/v1/volumes/db/attachment';
  const { attachment } = await api.put<VolumeView>(path, { as: 'nbd' });
  const load = new VerifyingLoad({
    random,
    run: random.next(),
    uri: async () => attachment?.uri ?? '',
    volumeBytes: VOLUME_BYTES,
    depth: DEPTH,
    reconnectLimitMs: RECONNECT_MS,
  });
  await load.verifyAll();
  const before = await epochOf(stage, id);
  const running = load.run();
  const neighbours = startNeighbours();
  let stops = 0;
  try {
    for (const endAtMs = performance.now() + seconds * 1000; performance.now() < endAtMs; stops++) {
      const node = stage.cluster.node(random.pick(NODES));
      const role = random.pick(['engine', 'control'] as const);
      node.signal(role, 'SIGSTOP');
      await sleep(STOP_MS);
      node.signal(role, 'SIGCONT');
      await Promise.race([sleep(EVERY_MS - STOP_MS), running]);
    }
    load.stop();
    await running;
  } finally {
    for (const neighbour of neighbours) neighbour.kill('SIGKILL');
  }
  const changes = (await epochOf(stage, id)) - before;
  await load.verifyAll();
  await load.close();
  const { mismatches, counts } = load;
  process.stdout.write(
    `${stops} stops, ${counts.writes} writes, ${mismatches.length} sectors wrong, ${counts.resent} requests sent again; load ${loadavg()[0]?.toFixed(1)}\n` +
      `${changes} changes of the volume's set: ${changes === 0 ? 'nobody was dropped' : 'FAILED'}\n`,
  );
  return changes === 0 && mismatches.length === 0 && counts.resent === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '3' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      dir: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seconds = 60 * countOption('minutes', values.minutes);
  const seed = countOption('seed', values.seed, 0);
  process.stdout.write(`seed ${seed}\n`);
  await openRigDirectory(values.dir);
  return await Stage.use({}, (stage) => run(stage, seconds, new Prng(seed)));
}

await runRig(main);
