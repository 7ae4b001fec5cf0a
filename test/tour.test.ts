/** The tour of `npm start`, short, with one kill; and what it does about a tour that died. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { missing } from '../bootstrap/debian-packages.mjs';
import { mountProblem } from '../bootstrap/mounting.mjs';
import type { VolumeView } from '../src/control/schemas.ts';
import { CommandLine } from '../src/tour/command-line.ts';
import { until } from './rigs/attach-rig.ts';
import { processesOf } from './rigs/control-rig.ts';

const TOUR = fileURLToPath(new URL('../src/tour/tour-main.ts', import.meta.url));
const needed = missing(['postgresql', 'e2fsprogs', 'mount']);
const skip =
  mountProblem() ??
  (needed.length > 0 ? `not installed: ${needed.join(', ')}` : undefined) ??
  false;

let folder = '';
let workFoldersBefore: ReadonlySet<string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hf-tour-test-'));
  workFoldersBefore = new Set(workFolders());
});
afterEach(() => rmSync(folder, { recursive: true }));

const workFolders = (): string[] =>
  readdirSync(tmpdir()).filter((name) => name.startsWith('holdfast-tour-'));

type Run = {
  readonly process: ChildProcess;
  readonly ended: Promise<{ readonly status: number | null; readonly output: string }>;
  readonly output: () => string;
};

function startTour(...args: readonly string[]): Run {
  const all = [TOUR, '--data', folder, '--drive-size', '2GiB', '--kills', '1', ...args];
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = new Promise<Awaited<Run['ended']>>((resolve) => {
    child.on('close', (status) => resolve({ status, output }));
  });
  return { process: child, ended, output: () => output };
}

async function waitFor(run: Run, text: string): Promise<void> {
  for (let i = 0; !run.output().includes(text); i++) {
    assert.ok(i < 600 && run.process.exitCode === null, `no "${text}" in:\n${run.output()}`);
    await sleep(100);
  }
}

/** Nothing of the tour is left but what is in its data folder. */
function assertClean(): void {
  assert.deepEqual(
    workFolders().filter((name) => !workFoldersBefore.has(name)),
    [],
  );
  assert.ok(!readFileSync('/proc/mounts', 'utf8').includes(folder));
  assert.ok(!existsSync(join(folder, 'log', 'tour', 'tour.json')));
}

function assertNothingLost(output: string): void {
  const [, committed, found, lost] =
    /committed (\d+), found (\d+), lost (\d+)/.exec(output) ?? assert.fail(output);
  assert.ok(Number(committed) > 0);
  assert.equal(found, committed);
  assert.equal(lost, '0');
  assert.match(output, /kill 1: engine \d+ after \d+ commits; engine \d+ took over/);
  assert.match(output, /the first commit on node b \d+\.\d s after the kill/);
  assert.equal(output.match(/later its replica has what it missed/g)?.length, 2);
}

test(
  'the tour with PostgreSQL loses no commit, and one that was killed is cleaned up',
  { skip },
  async () => {
    const killed = startTour();
    await waitFor(killed, 'Writers run');
    killed.process.kill('SIGKILL');
    await killed.ended;
    const { status, output } = await startTour('--once').ended;
    assert.equal(status, 0, output);
    assert.match(output, /End what the last tour left/);
    assertNothingLost(output);
    assertClean();
  },
);

test('Ctrl-C ends the tour in order, whatever it is at', { skip }, async () => {
  const run = startTour();
  await waitFor(run, 'Writers run');
  const second = await startTour('--once').ended;
  assert.equal(second.status, 1);
  assert.match(second.output, /Another tour runs in/);
  run.process.kill('SIGINT');
  const { status, output } = await run.ended;
  assert.equal(status, 130, output);
  assert.match(output, /Holdfast is down/);
  assertClean();
});

/** A tour whose nodes are starting. */
async function startStarting(): Promise<Run> {
  const run = startTour();
  await until(() => processesOf(folder).length > 0);
  return run;
}

test('a terminal that closes while the nodes start ends the tour there', async () => {
  const run = await startStarting();
  for (const stream of [run.process.stdout, run.process.stderr]) stream?.destroy();
  run.process.kill('SIGHUP');
  const { status, output } = await run.ended;
  assert.equal(status, 130, output);
  assert.ok(
    !output.includes('Start three nodes'),
    'not even the step that it was in came to its end',
  );
  assert.deepEqual(processesOf(folder), []);
  assertClean();
});

test('a tour that is refused its folder leaves that as it is', async () => {
  writeFileSync(join(folder, 'theirs'), '');
  const { status, output } = await startTour('--once').ended;
  assert.equal(status, 1);
  assert.match(output, /Cannot use ".+": there is "theirs" in it/);
  assert.deepEqual(readdirSync(folder), ['theirs']);
  assertClean();
});

test('the tour neither removes a volume that no tour made nor kills the engine under one', async () => {
  const holdfast = new CommandLine(folder);
  // The volumes are on one node, which is enough to ask about them.
  const node = new CommandLine(join(folder, 'nodes', 'a'));
  await holdfast.up(1, '128MiB', new AbortController().signal);
  await node.run('volume', 'create', 'mine', '--size', '16MiB');
  await node.run('volume', 'attach', 'mine', '--nbd');
  await node.run('volume', 'create', 'tour', '--size', '16MiB');
  const { id } = await node.run<VolumeView>('volume', 'inspect', 'tour');
  await node.run('down');
  const used = await startTour('--once', '--without-mount').ended;
  assert.equal(used.status, 1);
  assert.match(used.output, /Volume "mine" in ".+" is attached/);
  assertClean();

  await node.run('up', '--detach');
  await node.run('volume', 'detach', 'mine');
  await node.run('down');
  const named = await startTour('--once', '--without-mount').ended;
  assert.equal(named.status, 1);
  assert.match(named.output, /Volume "tour" in ".+" was not made by a tour/);
  assertClean();

  await node.run('up', '--detach');
  assert.equal((await node.run<VolumeView>('volume', 'inspect', 'tour')).id, id);
  await node.run('down');
});

test('the tour on the NBD socket loses no write, after one that was killed at its start', async () => {
  const killed = await startStarting();
  killed.process.kill('SIGKILL');
  await killed.ended;
  const { status, output } = await startTour('--once', '--without-mount').ended;
  assert.equal(status, 0, output);
  assertNothingLost(output);
  assertClean();
});
