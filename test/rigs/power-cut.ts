/**
 * `npm run chaos:cut`: the power-cut rig on a real disk. An engine runs under load while a hook in its env.io records every
 * write and flush; afterwards the drive is rebuilt as a cut at random moments would have left it, checked offline, served by
 * a fresh engine, and compared with what the client was promised by then.
 */

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { countOption, positiveOption } from '../../src/lib/count-option.ts';
import { Installation } from '../../bench/lib/installation.ts';
import { isAlive, isEnding, waitFor } from '../../bench/lib/processes.ts';
import { RigFolder, runRig } from '../../bench/lib/rig.ts';
import { requireFreeBytes } from '../../bench/lib/host.ts';
import { Prng } from '../../src/lib/prng.ts';
import { ChangeHistory, monotonicNs } from './change-history.ts';
import { CutImages } from './cut-images.ts';
import { JournalReader } from './journal-reader.ts';
import { NbdConnection } from './nbd-connection.ts';
import type { Mismatch } from './sector-model.ts';
import { SECTOR_BYTES } from './stamps.ts';
import { VerifyingLoad } from './verifying-load.ts';

const HELP = `npm run chaos:cut -- [options]: cuts the power of a recorded engine at random moments

  --cuts N        moments to look at (50)
  --seconds N     of load that is recorded (5)
  --seed N        of the load, the moments and what each cut keeps; printed, random by default
  --dir FOLDER    where a folder for the data is made (.holdfast/chaos)
  --canary        rebuilds the drive as one that lies about flushes: the rig must report a loss

Example: npm run chaos:cut -- --cuts 10 --seconds 2
`;

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
const HOOKS = new URL('../hooks/load.mjs', import.meta.url).href;
const VOLUME = 'cut';
const VOLUME_BYTES = 64 * 2 ** 20;
const DRIVE_BYTES = 2 ** 30;
const DEPTH = 16;
const VERIFY_BYTES = 2 ** 20;

type Recorded = {
  readonly history: ChangeHistory;
  readonly drivePath: string;
  readonly enginePid: number;
  readonly driveFileId: number;
  readonly startNs: number;
  readonly endNs: number;
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cuts: { type: 'string', default: '50' },
      seconds: { type: 'string', default: '5' },
      seed: { type: 'string' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'chaos') },
      canary: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const count = countOption('cuts', values.cuts);
  const seconds = positiveOption('seconds', values.seconds);
  const seed =
    values.seed === undefined
      ? Math.floor(Math.random() * 2 ** 32)
      : countOption('seed', values.seed, 0);
  process.stdout.write(`seed ${seed}\n`);
  const rigFolder = await RigFolder.open(values.dir, 'cut');
  const folder = rigFolder.path;
  const random = new Prng(seed);
  const journalPath = join(folder, 'journal');
  const dataFolder = join(folder, 'data');
  const installation = new Installation({ dataFolder });
  rigFolder.onClose(async () => await installation.down());
  let failures: number | undefined;
  try {
    // The drive, the certain image, and a journal of about as many bytes.
    requireFreeBytes(folder, 4 * DRIVE_BYTES);
    const recorded = await record({ dataFolder, journalPath, seconds, random });
    const lying = values.canary;
    failures = await cutAll({ folder, dataFolder, journalPath, recorded, random, count, lying });
  } finally {
    const keep = failures !== 0 && !isEnding();
    if (keep) process.stdout.write(`Left for inspection: ${folder}\n`);
    await rigFolder.close({ keep });
  }
  process.stdout.write(failures === 0 ? 'Nothing flushed was lost\n' : `${failures} cuts FAILED\n`);
  return failures === 0 ? 0 : 1;
}

/** Runs the load on an engine with the recording hook, then ends everything as a power cut would. */
async function record(options: {
  readonly dataFolder: string;
  readonly journalPath: string;
  readonly seconds: number;
  readonly random: Prng;
}): Promise<Recorded> {
  const installation = new Installation({
    dataFolder: options.dataFolder,
    env: {
      NODE_OPTIONS: `--import=${HOOKS}`,
      HOLDFAST_TEST_HOOKS: 'recording-io',
      HOLDFAST_TEST_JOURNAL: options.journalPath,
    },
  });
  await installation.up({ driveSizeBytes: DRIVE_BYTES });
  await installation.createVolume(VOLUME, VOLUME_BYTES);
  const uri = await installation.attachNbd(VOLUME);
  const { enginePid, drives, pids } = await installation.status();
  const drivePath = drives[0]?.path;
  if (drivePath === undefined) throw new Error('The status names no drive');
  const run = options.random.next();
  const history = new ChangeHistory(run);
  const load = new VerifyingLoad({
    random: options.random,
    run,
    uri: async () => uri,
    volumeBytes: VOLUME_BYTES,
    depth: DEPTH,
    reconnectLimitMs: 1000,
    history,
  });
  const startNs = monotonicNs();
  const running = load.run();
  await sleep(options.seconds * 1000);
  const endNs = monotonicNs();
  load.stop();
  await running;
  await load.close();
  if (load.mismatches.length > 0)
    throw new Error(`Wrong before any cut: ${words(load.mismatches)}`);
  const { counts } = load;
  process.stdout.write(`recorded ${counts.writes} writes, ${counts.flushes} flushes\n`);
  if (counts.writes === 0 || counts.flushes === 0) throw new Error('The load did nothing to lose');
  const driveFileId = statSync(drivePath).ino;
  await killAll(pids);
  return { history, drivePath, enginePid, driveFileId, startNs, endNs };
}

async function cutAll(options: {
  readonly folder: string;
  readonly dataFolder: string;
  readonly journalPath: string;
  readonly recorded: Recorded;
  readonly random: Prng;
  readonly count: number;
  readonly lying: boolean;
}): Promise<number> {
  const { recorded, random } = options;
  const journal = new JournalReader(options.journalPath, {
    pid: recorded.enginePid,
    fileId: recorded.driveFileId,
  });
  const images = new CutImages(journal, {
    random,
    certainPath: join(options.folder, 'certain.img'),
    sizeBytes: statSync(recorded.drivePath).size,
    forgetsFlushes: options.lying,
  });
  const spanNs = recorded.endNs - recorded.startNs;
  const moments = Array.from(
    { length: options.count },
    () => recorded.startNs + (random.next() / 2 ** 32) * spanNs,
  ).toSorted((a, b) => a - b);
  const installation = new Installation({ dataFolder: options.dataFolder });
  let failures = 0;
  for (const [index, cutNs] of moments.entries()) {
    const cut = images.cut(cutNs, recorded.drivePath);
    const problem = await recoverAndCompare(installation, recorded, cutNs);
    process.stdout.write(
      `cut ${index + 1}/${moments.length} after ${((cutNs - recorded.startNs) / 1e9).toFixed(3)} s, ` +
        `${recorded.history.flushCountAt(cutNs)} flushes: ${cut.volatileWrites} writes in the cache, ` +
        `${cut.keptSectors} of their sectors kept, ${cut.lostSectors} lost: ${problem ?? 'right'}\n`,
    );
    if (problem === undefined) continue;
    failures++;
    // The first wrong image is the one to look at; the next cut would overwrite it.
    break;
  }
  journal.close();
  return failures;
}

/** Checks the drive offline, serves it, reads the volume, ends everything. Returns what is wrong. */
async function recoverAndCompare(
  installation: Installation,
  recorded: Recorded,
  cutNs: number,
): Promise<string | undefined> {
  try {
    await installation.command(['drive', 'check', recorded.drivePath]);
  } catch (error) {
    return `drive check: ${String(error)}`;
  }
  await installation.start();
  const { pids } = await installation.status();
  try {
    const connection = await NbdConnection.open(await installation.attachNbd(VOLUME));
    const found: Mismatch[] = [];
    for (let offsetBytes = 0; offsetBytes < VOLUME_BYTES; offsetBytes += VERIFY_BYTES) {
      const bytes = await connection.request({
        kind: 'read',
        offsetBytes,
        lengthBytes: VERIFY_BYTES,
      });
      found.push(...recorded.history.mismatches(offsetBytes / SECTOR_BYTES, bytes, cutNs));
    }
    connection.close();
    return found.length === 0 ? undefined : words(found);
  } catch (error) {
    return String(error);
  } finally {
    await killAll(pids);
  }
}

async function killAll(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended with its parent.
    }
  }
  await waitFor('all processes are dead', () => !pids.some((pid) => isAlive(pid)), {
    timeoutMs: 10_000,
  });
}

function words(mismatches: readonly Mismatch[]): string {
  return mismatches
    .slice(0, 4)
    .map(
      (each) =>
        `sector ${each.sector} holds version ${each.found}, right is ${each.legal.join(' or ')}`,
    )
    .join('; ');
}

await runRig(main);
