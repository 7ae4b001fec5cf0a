/** What `down` ends, and what it says where there is nothing of ours to end. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { identify } from '../src/attacher/process-identity.ts';
import { readMounts } from '../src/attacher/mount-table.ts';
import type { StatusView, VolumeView } from '../src/control/schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, NOBODY, device, root, copyInstallation } from './rigs/cli-rig.ts';
import { processesOf, sweepEarlierTests } from './rigs/control-rig.ts';

let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

afterEach(async () => {
  // What a failed test left must not fail the next.
  await rig.run(['uninstall', '--yes']);
});

after(() => rig.close());

/** A process that ends with this test, whatever becomes of it. */
function startForeign(): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', 'sleep', '60'], { stdio: 'ignore' });
}

test('down leaves a process alone that got the number of a dead supervisor', async () => {
  await rig.up();
  await rig.json('down');
  const foreign = startForeign();
  const identity = identify(foreign.pid ?? 0);
  assert.ok(identity !== undefined);
  const state = { ...identity, startTicks: identity.startTicks - 1, processes: {}, notes: [] };
  fs.writeFileSync(path.join(rig.data, 'run', 'supervisor.json'), JSON.stringify(state));
  const ended = await rig.run(['down']);
  assert.equal(ended.code, 0, ended.err);
  assert.equal(identify(identity.pid)?.startTicks, identity.startTicks, 'it runs as before');
  foreign.kill();
});

test('down and uninstall of a copy of what runs leave the original alone', async () => {
  await rig.up();
  const processes = async (): Promise<unknown> => (await rig.json('status'))['processes'];
  const running = await processes();
  const copy = `${rig.data}-copy`;
  copyInstallation(rig.data, copy);
  try {
    const ended = await rig.run(['uninstall', '--yes', '--data', copy]);
    assert.equal(ended.code, 0, ended.err);
  } finally {
    fs.rmSync(copy, { recursive: true, force: true });
  }
  assert.deepEqual(await processes(), running);
});

/** Kills the supervisor alone; engine, attacher and control run on. */
async function killSupervisor(): Promise<void> {
  const { processes } = (await rig.json('status')) as {
    processes: Record<string, { pid: number }>;
  };
  const pid = processes['supervisor']?.pid ?? 0;
  process.kill(pid, 'SIGKILL');
  await until(() => identify(pid) === undefined);
}

for (const command of [['down'], ['uninstall', '--yes']]) {
  test(
    `${command[0]} ends what a dead supervisor left running, with its mounts`,
    device,
    async () => {
      await rig.up();
      await rig.json('volume', 'create', 'data', '--size', '64MiB');
      await rig.json('volume', 'mount', 'data');
      await killSupervisor();
      const { processes, warnings } = await rig.json('status');
      assert.equal((processes as { supervisor: { state: string } }).supervisor.state, 'dead');
      assert.match(String(warnings), /supervisor: process \d+ is dead.*holdfast up takes over/);
      const ended = await rig.run(command);
      assert.equal(ended.code, 0, ended.err);
      assert.match(ended.err, /supervisor is dead/);
      assert.deepEqual(processesOf(rig.directory), []);
      assert.ok(!readMounts().some((mount) => mount.path.startsWith(rig.directory)));
      assert.equal(fs.existsSync(rig.data), command[0] === 'down');
    },
  );
}

test('down of what is dead wholly undoes what it left in the machine', device, async () => {
  await rig.up();
  await rig.json('volume', 'create', 'data', '--size', '64MiB');
  await rig.json('volume', 'mount', 'data');
  await killSupervisor();
  for (const { pid } of processesOf(rig.directory)) process.kill(pid, 'SIGKILL');
  await until(() => processesOf(rig.directory).length === 0);
  const ended = await rig.run(['down']);
  assert.equal(ended.code, 0, ended.err);
  assert.match(ended.out, /no longer runs/);
  assert.ok(!readMounts().some((mount) => mount.path.startsWith(rig.directory)));
  const again = await rig.run(['down']);
  assert.deepEqual([again.code, /does not run in/.test(again.out)], [0, true]);
});

test(
  'who may not look into a directory is told so, and not that nothing runs there',
  root,
  async () => {
    await rig.up();
    fs.chmodSync(rig.directory, 0o755);
    for (const words of [['down'], ['uninstall', '--yes']]) {
      // First its own directory is closed, then only the one of its sockets.
      for (const mode of [0o700, 0o755]) {
        fs.chmodSync(rig.data, mode);
        const refused = await rig.run(words, { uid: NOBODY, cwd: rig.directory });
        assert.equal(refused.code, 1, refused.out);
        assert.match(refused.err, /Cannot use ".*data.*": it cannot be read: permission denied/);
      }
    }
    assert.equal((await rig.run(['status'])).code, 0, 'it runs as before');
  },
);

test('down ends what is only starting, and up says so', async () => {
  const child = rig.start(['up', '--detach', '--sparse', '--drive-size', '1GiB']);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  const up = once(child, 'exit');
  const supervisor = (): number | undefined =>
    processesOf(rig.directory).find(({ words }) => words.includes('--supervise'))?.pid;
  await until(() => supervisor() !== undefined);
  const pid = supervisor() ?? 0;
  // So early that it has told nobody that it runs.
  process.kill(pid, 'SIGSTOP');
  const ending = rig.run(['down']);
  await sleep(500);
  process.kill(pid, 'SIGCONT');
  const ended = await ending;
  assert.deepEqual([ended.code, /no longer runs/.test(ended.out)], [0, true], ended.err);
  assert.deepEqual(await up, [1, null]);
  assert.match(said, /^Cannot start: it was ended \(holdfast down\) before it was ready/);
  assert.deepEqual(processesOf(rig.directory), []);
});

test('control that is there and does not answer is told of, and down ends nothing under it', async () => {
  await rig.up();
  const { processes } = (await rig.json('status')) as unknown as StatusView;
  const pid = processes['control']?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  try {
    const commands = [
      ['status'],
      ['volume', 'ls'],
      ['volume', 'create', 'v', '--size', '1MiB'],
      ['down'],
    ];
    const ended = await Promise.all(
      commands.map((words) => rig.run([...words, '--output', 'json'])),
    );
    for (const { code, err } of ended) {
      assert.equal(code, 3, err);
      assert.match(
        err,
        new RegExp(`"CONTROL_SILENT".*its control, process ${pid}, has been silent`),
      );
    }
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await rig.json('volume', 'ls');
  await rig.json('down');
});

test(
  'down under control that has just died waits until it is back, and unmounts',
  { ...device, timeout: 120_000 },
  async () => {
    await rig.up();
    await rig.json('volume', 'create', 'm', '--size', '64MiB');
    const { mount } = (await rig.json('volume', 'mount', 'm')) as unknown as VolumeView;
    const file = path.join(mount?.path ?? '', 'data');
    const killControl = async (): Promise<void> => {
      const { processes } = (await rig.json('status')) as unknown as StatusView;
      process.kill(processes['control']?.pid ?? 0, 'SIGKILL');
    };
    const user = fs.openSync(file, 'w');
    fs.writeSync(user, Buffer.alloc(2 ** 20, 7));
    await killControl();
    const refused = await rig.run(['down', '--output', 'json']);
    assert.match(refused.err, /"MOUNT_BUSY"/);
    fs.closeSync(user);
    await killControl();
    await rig.json('down');
    await rig.json('up', '--detach');
    assert.ok(fs.readFileSync(file).equals(Buffer.alloc(2 ** 20, 7)));
    await rig.json('down');
  },
);

test('down says where there is no installation', async () => {
  const empty = path.join(rig.directory, 'empty');
  fs.mkdirSync(empty);
  for (const [at, problem] of [
    [empty, /Cannot use ".*empty": it is no installation of Holdfast/],
    [path.join(empty, 'nothing'), /Cannot use ".*nothing": there is no such directory/],
  ] as const) {
    const refused = await rig.run(['down', '--data', at]);
    assert.equal(refused.code, 1, refused.out);
    assert.match(refused.err, problem);
  }
});
