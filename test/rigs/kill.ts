/** `npm run chaos:kill`: SIGKILLs of the engine at random moments under a load that knows what it was promised. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { countOption, UsageError } from '../../src/lib/count-option.ts';
import { Installation } from '../../bench/lib/installation.ts';
import { isEnding } from '../../bench/lib/processes.ts';
import { RigFolder, runRig } from '../../bench/lib/rig.ts';
import type { KillOutcome, KillPlan } from './kill-plan.ts';
import { killUnderMount } from './kill-mount.ts';
import { killUnderNbd } from './kill-nbd.ts';
import { killUnderPostgres } from './kill-postgres.ts';

const HELP = `npm run chaos:kill -- [options]: kills the engine under load; nothing acknowledged may be lost

  --kills N       kills on each path (200)
  --path NAMES    nbd, mount, mount-xfs, postgres; several with commas (nbd,mount,mount-xfs,postgres)
  --uptime MS     the load runs at most this long between two kills (1500)
  --seed N        of the moments and the load; printed, random by default
  --dir FOLDER    where a folder for the data is made (.holdfast/chaos)

Example: npm run chaos:kill -- --kills 20 --path nbd
`;

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const DRIVE_BYTES = 4 * 2 ** 30;
/** "Recovery <= 2 s + 1 s per TiB used": these drives hold a few GiB. */
const RECOVERY_BAR_MS = 2000;
/** A server that comes back later than its bar is measured, not given up. */
const RECOVERY_LIMIT_MS = 30_000;

type PathRun = (installation: Installation, plan: KillPlan) => Promise<KillOutcome>;
const PATHS: Readonly<Record<string, PathRun>> = {
  nbd: killUnderNbd,
  mount: killUnderMount,
  'mount-xfs': async (installation, plan) => await killUnderMount(installation, plan, 'xfs'),
  postgres: killUnderPostgres,
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '200' },
      path: { type: 'string', default: Object.keys(PATHS).join(',') },
      uptime: { type: 'string', default: '1500' },
      seed: { type: 'string' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'chaos') },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const killCount = countOption('kills', values.kills);
  const uptimeMsMax = countOption('uptime', values.uptime);
  const names = values.path.split(',');
  const unknown = names.find((name) => PATHS[name] === undefined);
  if (unknown !== undefined) throw new UsageError(`Unknown path "${unknown}"; see --help`);
  const seed =
    values.seed === undefined
      ? Math.floor(Math.random() * 2 ** 32)
      : countOption('seed', values.seed, 0);
  process.stdout.write(`seed ${seed}\n`);
  let failed = false;
  for (const name of names) {
    const runPath = PATHS[name];
    if (runPath === undefined) continue;
    const outcome = await runInInstallation(values.dir, runPath, {
      killCount,
      seed,
      uptimeMsMax,
      recoveryLimitMs: RECOVERY_LIMIT_MS,
      onProgress: (line) => process.stderr.write(`${name}: ${line}\n`),
    });
    failed = !report(name, outcome, killCount) || failed;
  }
  return failed ? 1 : 0;
}

/** Prints what a path found; returns whether its bars hold. */
function report(name: string, outcome: KillOutcome, killCount: number): boolean {
  const slowest = Math.max(0, ...outcome.recoveryMs);
  for (const fact of outcome.facts) process.stdout.write(`${name}: ${fact}\n`);
  for (const loss of outcome.lost) process.stdout.write(`${name}: LOST ${loss}\n`);
  const measured = outcome.recoveryMs.length;
  if (measured < killCount) {
    process.stdout.write(`${name}: only ${measured} of ${killCount} recoveries were measured\n`);
  }
  process.stdout.write(
    `${name}: recovery ${Math.round(slowest)} ms at most, bar ${RECOVERY_BAR_MS} ms: ` +
      `${slowest <= RECOVERY_BAR_MS && measured >= killCount ? 'met' : 'MISSED'}\n`,
  );
  process.stdout.write(
    `${name}: ${outcome.lost.length === 0 ? 'nothing acknowledged was lost' : 'FAILED'}\n`,
  );
  return outcome.lost.length === 0 && slowest <= RECOVERY_BAR_MS && measured >= killCount;
}

/** Runs one path in an installation of its own. What failed is left where it lies, with the engine down. */
async function runInInstallation(
  folder: string,
  runPath: PathRun,
  plan: KillPlan,
): Promise<KillOutcome> {
  const rigFolder = await RigFolder.open(folder, 'kill');
  const installation = new Installation({ dataFolder: join(rigFolder.path, 'data') });
  let keep = false;
  rigFolder.onClose(async () => await (keep ? installation.down() : installation.remove()));
  let outcome: KillOutcome | undefined;
  try {
    await installation.up({ driveSizeBytes: DRIVE_BYTES });
    const onStarted = (end: () => Promise<void>): void => rigFolder.onClose(end);
    outcome = await runPath(installation, { ...plan, onStarted });
    return outcome;
  } finally {
    keep = outcome?.lost.length !== 0 && !isEnding();
    if (keep) process.stdout.write(`Left for inspection: ${installation.dataFolder}\n`);
    await rigFolder.close({ keep });
  }
}

await runRig(main);
