/**
 * `npm run bench:replicas`: a volume with three replicas in three engines over TCP, one beside the head, against QEMU's quorum over three
 * nbdkit, Ceph's RBD with three copies and a volume with one replica, in turns in one run, all on one machine and disk. The bars are those of issue 4.
 */

import { countOption, positiveOption } from '../src/lib/count-option.ts';
import { fillTarget, type Target, warmUp } from './lib/fio.ts';
import { dropPageCache, hostFacts, requireFreeBytes, settle } from './lib/host.ts';
import { comparisonOptions, named } from './lib/plan.ts';
import { RigFolder, runRig } from './lib/rig.ts';
import type { Server } from './lib/server.ts';
import { measureRow, type Sample } from './measure.ts';
import {
  type Absent,
  judgeReplicas,
  REPLICA_ROWS,
  rowOn,
  SIDES,
  type Side,
} from './replica-bars.ts';
import { allMet, publish, sideFacts } from './report.ts';
import type { Row } from './rows.ts';
import { Ceph, cephBytes, cephProblem } from './servers/ceph.ts';
import { Holdfast } from './servers/holdfast.ts';
import { Quorum } from './servers/quorum.ts';
import { ThreeEngines } from './servers/three-engines.ts';

const NAMES: readonly Side[] = ['clear', 'sealed', 'fua', 'quorum', 'quorumFua', 'one', 'ceph'];
const HELP = `npm run bench:replicas -- [options]: measures three replicas in three engines against the peers

  --quick           one round of 1 s a row on small volumes; not for claims
  --rounds N        interleaved rounds (5)
  --seconds N       seconds of each measurement (3)
  --rows ID,ID      only these rows (${REPLICA_ROWS.map((row) => row.id).join(', ')})
  --only NAME,NAME  only these sides: ${NAMES.join(', ')}
  --dir FOLDER      where a folder for the data is made; one file system for all (.holdfast/bench)
  --assert          exit status 1 when a bar is missed or a row has nothing to judge

Example: npm run bench:replicas -- --rows randwrite-4k-32 --only clear,quorum --rounds 3
`;

const VOLUME_BYTES = 2 ** 30;
const QUICK_VOLUME_BYTES = 256 * 2 ** 20;
/** Of one measurement. */
const TRIES_MAX = 5;
/** Of the disk: three drives of three volumes, three images, a drive of eight. */
const SPACE_VOLUMES = { clear: 9, sealed: 9, fua: 9, quorum: 3, quorumFua: 3, one: 8 };

type Plan = {
  readonly rounds: number;
  readonly seconds: number;
  readonly volumeBytes: number;
  readonly rows: readonly Row[];
  readonly sides: readonly Side[];
  readonly absent: Absent;
  readonly folder: string;
  readonly assert: boolean;
};

type Started = { readonly side: Side; readonly server: Server; readonly target: Target };

const SERVERS: { readonly [side in Side]: (folder: RigFolder) => Server } = {
  clear: (folder) => new ThreeEngines(folder, { name: SIDES.clear, sealed: false, isFua: false }),
  sealed: (folder) => new ThreeEngines(folder, { name: SIDES.sealed, sealed: true, isFua: false }),
  fua: (folder) => new ThreeEngines(folder, { name: SIDES.fua, sealed: false, isFua: true }),
  quorum: (folder) => new Quorum(folder, { isFua: false }),
  quorumFua: (folder) => new Quorum(folder, { isFua: true }),
  one: (folder) => new Holdfast(folder.path),
  ceph: (folder) => new Ceph(folder),
};

async function main(): Promise<number> {
  const plan = parsePlan();
  if (plan === undefined) return 0;
  const folder = await RigFolder.open(plan.folder, 'replicas');
  const startedAt = new Date().toISOString();
  try {
    const sides = plan.sides.filter((side) => plan.absent[side] === undefined);
    requireFreeBytes(folder.path, neededBytes(sides, plan.volumeBytes));
    const started: Started[] = [];
    for (const side of sides) started.push(await start(plan, folder, side));
    await dropPageCache();
    const rows = await measureAll(plan, started);
    const verdicts = judgeReplicas(rows, plan.absent);
    publish('replicas', {
      startedAt,
      host: await hostFacts(plan.folder),
      conditions: [
        `${plan.rounds} interleaved rounds of ${plan.seconds} s, volumes of ${plan.volumeBytes / 2 ** 20} MiB written in full first; three copies share one disk and one machine.`,
        'Noise: processor time of the machine that neither fio nor the server used, kernel threads included. The NBD clients and librbd run within fio.',
        ...Object.entries(plan.absent).map(([side, why]) => `"${side}" did not run: ${why}.`),
      ],
      sides: await Promise.all(started.map(({ server }) => sideFacts(server))),
      rows,
      verdicts,
    });
    return plan.assert && !allMet(plan.rows, verdicts) ? 1 : 0;
  } finally {
    await folder.close();
  }
}

function parsePlan(): Plan | undefined {
  const values = comparisonOptions(HELP);
  if (values === undefined) return undefined;
  const sides = named(values.only, { all: NAMES, nameOf: (name) => name });
  const problem = sides.includes('ceph') ? cephProblem() : undefined;
  return {
    rounds: countOption('rounds', values.rounds ?? (values.quick ? '1' : '5')),
    seconds: positiveOption('seconds', values.seconds ?? (values.quick ? '1' : '3')),
    volumeBytes: values.quick ? QUICK_VOLUME_BYTES : VOLUME_BYTES,
    rows: named(values.rows, { all: REPLICA_ROWS, nameOf: ({ id }) => id }),
    sides,
    absent: problem === undefined ? {} : { ceph: problem },
    folder: values.dir,
    assert: values.assert,
  };
}

function neededBytes(sides: readonly Side[], volumeBytes: number): number {
  const needs = sides.map((side) =>
    side === 'ceph' ? cephBytes(volumeBytes) : SPACE_VOLUMES[side] * volumeBytes,
  );
  return needs.reduce((sum, bytes) => sum + bytes, 0);
}

async function start(plan: Plan, folder: RigFolder, side: Side): Promise<Started> {
  const server = SERVERS[side](folder);
  folder.onClose(async () => await server.stop());
  progress(`Starting ${server.name} and writing its volume in full`);
  const target = await server.start(plan.volumeBytes);
  await fillTarget(target);
  await warmUp(target);
  await wasWhole(server);
  return { side, server, target };
}

async function measureAll(plan: Plan, started: readonly Started[]) {
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < plan.rounds; round += 1) {
    // Each round starts with another side.
    const from = round % started.length;
    const turn = [...started.slice(from), ...started.slice(0, from)];
    for (const row of plan.rows) {
      for (const each of turn) {
        const { side, server } = each;
        const asRun = rowOn(row, side);
        if (asRun === undefined) continue;
        const sample = await measureWhole(asRun, each, plan.seconds);
        const key = `${row.id} ${side}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        const cpu = sample.cpuUsPerIo.toFixed(1);
        progress(
          `round ${round + 1}/${plan.rounds}  ${row.id}  ${server.name}  ${Math.round(sample.iops)} IOPS, ${cpu} µs CPU`,
        );
      }
    }
  }
  return plan.rows.map((row) => ({
    row,
    sides: started.flatMap(({ side, server }) => {
      const found = samples.get(`${row.id} ${side}`);
      return found === undefined ? [] : [{ side: server.name, samples: found }];
    }),
  }));
}

/** On a disk that hangs, replicas are lost: what the others do then is no figure of three. */
async function measureWhole(row: Row, started: Started, seconds: number): Promise<Sample> {
  const { server, target } = started;
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    await settle();
    const sample = await measureRow(row, { target, serverPids: server.pids(), seconds });
    if (await wasWhole(server)) return sample;
    progress(`AGAIN, a replica was lost: ${row.id}  ${server.name}`);
  }
  throw new Error(`"${server.name}" has lost a replica in ${row.id} ${TRIES_MAX} times`);
}

/** Whether the server had all its copies since the last call, as far as it can lose one. */
async function wasWhole(server: Server): Promise<boolean> {
  const canLose = server instanceof ThreeEngines || server instanceof Ceph;
  return !canLose || (await server.wasWhole());
}

function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

await runRig(main);
