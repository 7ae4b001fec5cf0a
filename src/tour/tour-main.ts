/**
 * What `npm start` runs when everything is installed: `node src/tour/tour-main.ts [--data DIR] [--drive-size SIZE] [--kills N] [--once] [--without-mount]`.
 * bootstrap/start.mjs has said what will happen and has asked.
 *
 * The first Ctrl-C ends everything in order, the second at once.
 */

import { shellWord } from '../../bootstrap/shell-word.mjs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { CommandFailed, CommandLine } from './command-line.ts';
import { formatComparison } from './comparison.ts';
import { NODES, runCourse } from './course.ts';
import { DatabaseGuest } from './database-guest.ts';
import { type Guest, type Tour, VOLUME_NAME } from './guest.ts';
import { endProcessesOf } from './left-processes.ts';
import { findPostgres } from './postgres.ts';
import { Screen } from './screen.ts';
import { SocketGuest } from './socket-guest.ts';
import { WorkFolders } from './work-folder.ts';

const EXIT_INTERRUPTED = 130;
/** npm passes on the Ctrl-C that the terminal has sent as well: what comes within this time is the same one. */
const SAME_CTRL_C_MS = 500;

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: process.env['HOLDFAST_DATA'] ?? '.holdfast-tour' },
    'drive-size': { type: 'string', default: '4GiB' },
    kills: { type: 'string', default: '2' },
    once: { type: 'boolean', default: false },
    'without-mount': { type: 'boolean', default: false },
  },
});

const screen = new Screen();
const commandLine = new CommandLine(resolve(values.data));
const folders = new WorkFolders(commandLine.dataFolder);
const stop = new AbortController();
let running: Guest | undefined;
let firstStopAtMs: number | undefined;
let isUp = false;
/** What is in the folder is somebody else's: there is nothing of ours to end. */
let isOthers = false;

// After a hangup nobody reads what is printed, which is no reason to leave what runs.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onStop);
process.exitCode = await main();

async function main(): Promise<number> {
  try {
    await takePlace();
  } catch (error) {
    return report(error);
  }
  try {
    return await tourInstallation();
  } catch (error) {
    return report(error);
  } finally {
    await close();
  }
}

/** Makes sure that this folder is nobody else's, and ends what a dead tour left running. */
async function takePlace(): Promise<void> {
  const last = folders.last();
  if (last.kind === 'running') {
    throw new Error(
      `Another tour runs in "${commandLine.dataFolder}" (process ${last.pid}); give this one its own place: npm start -- --data DIR`,
    );
  }
  const isRunning = await commandLine.isRunning();
  if (isRunning && last.kind === 'none') {
    throw new Error(
      `Holdfast already runs in "${commandLine.dataFolder}", and the tour would kill its nodes; give the tour its own place: npm start -- --data DIR`,
    );
  }
  if (isRunning) await refuseUsed();
  if (last.kind === 'dead') {
    await screen.step('End what the last tour left', async () => {
      await endProcessesOf(last.workFolder);
      await down();
      return '';
    });
  }
}

/** Nodes are killed under its own volume alone. */
async function refuseUsed(): Promise<void> {
  const used = (await commandLine.othersVolumes()).find(({ attachment }) => attachment !== null);
  if (used === undefined) return;
  throw new Error(
    `Volume "${used.name}" in "${commandLine.dataFolder}" is attached, and the tour would kill its node; detach it, or give the tour its own place: npm start -- --data DIR`,
  );
}

async function tourInstallation(): Promise<number> {
  // Before anything runs: whatever becomes of this tour, the next one knows that it is a tour's.
  const workFolder = folders.make();
  await screen.step(
    `Start three nodes, each with a file drive (${values['drive-size']} if it is new)`,
    async () => {
      await up();
      isUp = true;
      const { ioKind, warnings } = await commandLine.status();
      const more = warnings.length > 0 ? `, ${warnings.length} warnings (holdfast status)` : '';
      return `I/O by ${ioKind}${more}`;
    },
  );
  await refuseUsed();
  const comparison = await runTour({
    commandLine,
    screen,
    workFolder,
    keptFolder: folders.kept,
    killCount: Number(values.kills),
    signal: stop.signal,
  });
  screen.line('');
  screen.line(formatComparison(comparison));
  for (const { writer, sequence } of comparison.lost.slice(0, 10)) {
    screen.line(`  lost: writer ${writer}, number ${sequence}`);
  }
  if (comparison.lost.length > 0 || comparison.committed === 0) return 1;
  if (!values.once) await waitForCtrlC();
  return 0;
}

async function up(): Promise<void> {
  try {
    await commandLine.up(NODES.length, values['drive-size'], stop.signal);
  } catch (error) {
    const { code = '' } = error instanceof CommandFailed ? error : {};
    isOthers = ['INSTALLATION_FOREIGN', 'INSTALLATION_RUNNING'].includes(code);
    throw error;
  }
}

async function runTour(tour: Tour): ReturnType<typeof runCourse> {
  const programs = findPostgres();
  if (programs !== undefined && !values['without-mount']) {
    running = new DatabaseGuest(tour, programs);
    try {
      return await runCourse(tour, running);
    } catch (error) {
      if (!(error instanceof CommandFailed) || error.code !== 'MOUNT_IMPOSSIBLE') throw error;
      screen.line(error.message);
      screen.line('The tour goes on without mounting, on the NBD socket.');
      await running.close();
    }
  }
  running = new SocketGuest(tour);
  return await runCourse(tour, running);
}

async function waitForCtrlC(): Promise<void> {
  const holdfast = `HOLDFAST_DATA=${shellWord(commandLine.dataFolder)} bin/holdfast`;
  screen.line(`
Try next, in another terminal:
  ${holdfast} status
  ${holdfast} volume inspect ${VOLUME_NAME}
  ${holdfast} volume create mine --size 1GiB
  ${holdfast} volume attach mine --nbd

It runs until Ctrl-C.`);
  // Signals alone do not keep the process.
  const awake = setInterval(() => undefined, 2 ** 30);
  await new Promise<void>((wake) => {
    if (stop.signal.aborted) wake();
    else stop.signal.addEventListener('abort', () => wake());
  });
  clearInterval(awake);
}

async function down(): Promise<void> {
  await commandLine.run('down').catch((error: unknown) => {
    // Asked to end before it had begun.
    const isNone = error instanceof CommandFailed && error.code === 'INSTALLATION_FOREIGN';
    if (isUp || !isNone) throw error;
  });
}

/** Ends what the tour started, in order. */
async function close(): Promise<void> {
  try {
    if (running !== undefined) await running.close();
    if (!isOthers) await down();
    folders.remove();
    if (isUp)
      screen.line('Holdfast is down; its data stays. Nothing else is left running or mounted.');
  } catch (error) {
    process.exitCode = report(error);
  }
}

function onStop(): void {
  const nowMs = performance.now();
  firstStopAtMs ??= nowMs;
  if (!stop.signal.aborted) {
    screen.line('');
    screen.line('Stopping in order (again: at once) …');
    stop.abort();
  } else if (nowMs - firstStopAtMs > SAME_CTRL_C_MS) {
    running?.kill();
    screen.line(
      `Stopped at once: everything that was acknowledged is safe. The next npm start ends what still runs, and so does: bin/holdfast down --data ${shellWord(commandLine.dataFolder)}`,
    );
    process.exit(EXIT_INTERRUPTED);
  }
}

function report(error: unknown): number {
  if (stop.signal.aborted && error instanceof Error && error.name === 'AbortError') {
    return EXIT_INTERRUPTED;
  }
  screen.line(error instanceof Error ? error.message : String(error));
  return 1;
}
