/** `npm run chaos:nodes`: three nodes in network namespaces, whose processes, machines and networks fail under a volume that is used. */

import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';

import { runRig } from '../../bench/lib/rig.ts';
import { UsageError, countOption } from '../../src/lib/count-option.ts';
import { findPostgres } from '../../src/tour/postgres.ts';
import { openRigDirectory } from './chaos-folder.ts';
import { type ChaosReport, type FaultReport, NodeChaos } from './node-chaos.ts';
import { NODE_FAULTS } from './node-faults.ts';
import { Stage } from './node-stage.ts';

const HELP = `npm run chaos:nodes -- [options]: kills, stops and cuts off nodes under load; nothing acknowledged may be lost

  --minutes N     how long (3)
  --seed N        of faults and load; printed, random by default
  --dir FOLDER    where folders for the nodes are made (.holdfast/chaos)
  --store NAME    sqlite or etcd, which can fail too (sqlite)
  --only TEXT     faults with this in their name, one at a time
  --canary        one replica forgets a write in ten: that must be found
  --assert        a stall above its bar is a failure: for a machine that does nothing else

Example: npm run chaos:nodes -- --minutes 60
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '3' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      dir: { type: 'string' },
      store: { type: 'string', default: 'sqlite' },
      only: { type: 'string' },
      canary: { type: 'boolean', default: false },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seconds = 60 * countOption('minutes', values.minutes);
  const { store } = values;
  if (store !== 'sqlite' && store !== 'etcd')
    throw new UsageError(`No store "${store}"; see --help`);
  const { only } = values;
  if (only !== undefined && !NODE_FAULTS.some(({ name }) => name.includes(only)))
    throw new UsageError(`No fault has "${only}" in its name; see test/rigs/node-faults.ts`);
  const seed = countOption('seed', values.seed, 0);
  process.stdout.write(`seed ${seed}\n`);
  await openRigDirectory(values.dir);
  const onProgress = (line: string): void => void process.stderr.write(`${line}\n`);
  const postgres = findPostgres();
  if (postgres === undefined) process.stdout.write('PostgreSQL is not installed: without one\n');
  const options = { store, hasDevices: postgres !== undefined, isCanary: values.canary } as const;
  const isGood = await Stage.use(options, async (stage) => {
    const chaos = await NodeChaos.start(stage, { seed, seconds, only, postgres, onProgress });
    return tell(await chaos.run(), values.assert);
  });
  return isGood ? 0 : 1;
}

/** Prints what came of it; returns whether it is good. */
function tell(report: ChaosReport, asserts: boolean): boolean {
  const { problems, alone, together, counts, watchedReads, commits } = report;
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  print(
    `${counts.writes} writes, ${counts.trims} trims, ${counts.zeroes} zeroes, ${counts.flushes} flushes, ` +
      `${counts.resent} requests sent again, ${counts.sectorsCompared} sectors compared, ${watchedReads} reads by clients of overtaken heads; load ${loadavg()[0]?.toFixed(1)}`,
  );
  print(
    `${commits.made} transactions of PostgreSQL, ${commits.compared} of them looked for after takeovers`,
  );
  const missed = alone.filter((each) => !isMet(each));
  for (const each of alone) print(`${lineOf(each)}${verdictOf(each)}`);
  for (const each of together) print(`with something else wrong: ${lineOf(each)}`);
  for (const problem of problems) print(`WRONG: ${problem}`);
  print(problems.length === 0 ? 'nothing acknowledged was lost' : 'FAILED');
  return problems.length === 0 && (!asserts || missed.length === 0);
}

function lineOf({ fault, gapsMs, states }: FaultReport): string {
  const during = [...states].map(([state, count]) => `${count} while ${state}`).join(', ');
  return `${fault.target}, ${fault.name}: ${during}; no answer for ${Math.round(Math.max(...gapsMs))} ms at most`;
}

const isMet = ({ fault: { barMs = Infinity }, gapsMs }: FaultReport): boolean =>
  Math.max(...gapsMs) <= barMs;

function verdictOf(report: FaultReport): string {
  const { barMs } = report.fault;
  return barMs === undefined ? '' : `, bar ${barMs} ms: ${isMet(report) ? 'met' : 'MISSED'}`;
}

await runRig(main);
