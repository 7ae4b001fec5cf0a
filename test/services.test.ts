/**
 * holdfast install on a Debian with systemd, in namespaces: the services start, are restarted and upgraded under I/O, are stopped in
 * order at a reboot, and leave nothing. Half a minute to build the Debian at first, so it runs when asked for (HOLDFAST_SYSTEMD=1).
 */

import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { MadeLog } from '../src/attacher/made-log.ts';
import type { StatusView } from '../src/control/schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { rebuild } from './rigs/rebuilt.ts';

const ROOT = new URL('../', import.meta.url).pathname.replace(/\/$/, '');
const MACHINE = path.join(ROOT, 'tools', 'systemd-machine');
const options =
  process.env['HOLDFAST_SYSTEMD'] === '1'
    ? { timeout: 300_000 }
    : { skip: 'HOLDFAST_SYSTEMD=1 runs it' };
/** Ten times the bar of 2 s. */
const STALL_GUARD_MS = 20_000;
/** On a machine that is busy with much else. */
const BOOT_LIMIT_MS = 120_000;
const UNITS = ['engine', 'attacher', 'control', 'mounts'].map((name) => `holdfast-${name}.service`);
const MOUNT = '/var/lib/holdfast/mnt/db';

let directory: string;
let work: string;
let machine: ChildProcess | undefined;

type Ended = { readonly status: number; readonly out: string; readonly err: string };

/** Runs a command in the machine. */
function attempt(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(MACHINE, ['run', work, ...words], (error, out, err) => {
      const code = error === null ? 0 : error.code;
      resolve({ status: typeof code === 'number' ? code : 255, out, err });
    });
  });
}

async function run(...words: readonly string[]): Promise<string> {
  const { status: code, out, err } = await attempt(...words);
  assert.equal(code, 0, `${words.join(' ')}: ${out}${err}`);
  return out;
}

async function boot(): Promise<void> {
  machine = spawn(MACHINE, ['boot', work, ROOT, directory], { stdio: 'inherit' });
  await until(async () => {
    const { out } = await attempt('systemctl', 'is-system-running');
    return /^(running|degraded)/.test(out);
  }, BOOT_LIMIT_MS);
}

async function status(): Promise<StatusView> {
  return JSON.parse(await run('holdfast', 'status', '--output', 'json')) as StatusView;
}

const pidOf = async (role: string): Promise<number> => (await status()).processes[role]?.pid ?? 0;

before(async () => {
  if ('skip' in options) return;
  directory = fs.mkdtempSync(path.join(os.tmpdir(), `hf-machine-${process.pid}-`));
  work = path.join(directory, 'work');
  fs.mkdirSync(work);
  execFileSync(MACHINE, ['build'], { stdio: 'inherit' });
  await boot();
});

after(async () => {
  if ('skip' in options) return;
  if (machine?.exitCode === null) {
    const ended = once(machine, 'exit');
    await attempt('systemctl', 'poweroff');
    const timer = setTimeout(() => machine?.kill('SIGTERM'), 60_000);
    await ended;
    clearTimeout(timer);
  }
  fs.rmSync(directory, { recursive: true, force: true });
});

test('install writes units that systemd has nothing to say about, once', options, async () => {
  const program = path.join(ROOT, 'bin', 'holdfast');
  const refused = await attempt('setpriv', '--reuid=65534', '--clear-groups', program, 'install');
  assert.equal(refused.status, 1);
  assert.match(refused.err, /Cannot install Holdfast on this machine: it takes root/);
  const shown = await run(program, 'install', '--dry-run');
  assert.match(shown, /Writes \/etc\/systemd\/system\/holdfast-engine.service:\n# Written by/);
  assert.equal((await attempt('ls', '/etc/systemd/system/holdfast.target')).status, 2);

  assert.match(await run(program, 'install'), /holdfast up starts it/);
  assert.match(await run('holdfast', 'install'), /All is there already/);
  const said = await attempt('systemd-analyze', 'verify', ...UNITS, 'holdfast.target');
  assert.deepEqual(said, { status: 0, out: '', err: '' });
  assert.equal((await run('systemctl', 'is-enabled', 'holdfast.target')).trim(), 'enabled');
});

test('up starts the services; each killed is started again, and I/O goes on', options, async () => {
  await run('holdfast', 'up', '--drive-size', '1GiB', '--sparse');
  await run('holdfast', 'volume', 'create', 'db', '--size', '256MiB');
  await run('holdfast', 'volume', 'mount', 'db');
  for (const role of ['control', 'engine']) {
    const killed = await pidOf(role);
    await run('systemctl', 'kill', '--signal=KILL', `holdfast-${role}.service`);
    await until(async () => ![0, killed].includes(await pidOf(role).catch(() => 0)));
    await run('dd', 'if=/dev/zero', `of=${MOUNT}/zeros`, 'bs=1M', 'count=4', 'oflag=direct');
    assert.equal((await status()).processes[role]?.restarts, 1);
  }
  const refused = await attempt('systemctl', 'restart', 'holdfast-attacher.service');
  assert.notEqual(refused.status, 0, 'an attacher cannot be restarted by mistake');
  const device = (await run('findmnt', '-no', 'SOURCE', MOUNT)).trim();
  const rules = await run('udevadm', 'test', `/sys/class/block/${path.basename(device)}`);
  assert.match(rules, /^UDISKS_IGNORE=1$/m);
  assert.doesNotMatch(rules, /^ID_FS_TYPE=/m, 'nobody has looked what is on it');
});

test(
  'upgrades and restarts of single services fail nothing under fio with verify',
  options,
  async (t) => {
    const words = `--filename=${MOUNT}/load --name=load --rw=randwrite --bsrange=4k-64k --size=64m
    --direct=1 --ioengine=libaio --iodepth=8 --fsync=16 --verify=crc32c --verify_backlog=64
    --verify_state_save=0 --loops=100000 --thread --output-format=json`;
    const load = attempt('fio', ...words.split(/\s+/));
    await sleep(1000);
    for (const version of ['1.0.1', '1.0.2']) {
      const known = await Promise.all(['engine', 'attacher', 'control'].map(pidOf));
      await run(rebuild(directory, version), 'upgrade');
      const now = await status();
      assert.equal(now.version, version);
      for (const [i, role] of ['engine', 'attacher', 'control'].entries())
        assert.notEqual(now.processes[role]?.pid, known[i], role);
      assert.equal(now.processes['attacher']?.restarts, 0, 'systemd follows the successor');
    }
    await run('systemctl', 'restart', 'holdfast-engine.service');
    await run('systemctl', 'restart', 'holdfast-control.service');
    const busy = await attempt('holdfast', 'down');
    assert.match(busy.err, /process \d+ \(fio\) uses it/);
    // It then ends in order, with a report, and status 128; a failure ends it by itself.
    await run('sh', '-c', 'kill -INT $(pidof fio)');
    const { status: code, out } = await load;
    assert.equal(code, 128, out);
    const report = JSON.parse(out.slice(out.indexOf('{'))) as {
      jobs: {
        error: number;
        read: { clat_ns: { max: number } };
        write: { clat_ns: { max: number } };
      }[];
    };
    const job = report.jobs[0]!;
    assert.equal(job.error, 0);
    const longest = Math.max(job.read.clat_ns.max, job.write.clat_ns.max);
    t.diagnostic(`the longest request took ${Math.round(longest / 1e6)} ms`);
    assert.ok(longest / 1e6 < STALL_GUARD_MS);
  },
);

/** Ends two seconds after it is told to, and is ordered after nothing: a shutdown ends it and Holdfast at once. */
const USER = `[Unit]
Description=Holds a file of a volume
[Service]
ExecStart=/bin/sh -c 'trap "sleep 2; echo last >&3; exit 0" TERM; exec 3>>${MOUNT}/held; while :; do sleep 0.1; done'
`;

test('a reboot waits for who uses a mount, unmounts, and mounts again', options, async () => {
  fs.writeFileSync(path.join(directory, 'user.service'), USER);
  await run('cp', path.join(directory, 'user.service'), '/etc/systemd/system/user.service');
  await run('systemctl', 'daemon-reload');
  await run('systemctl', 'start', 'user.service');
  const ended = once(machine!, 'exit');
  await attempt('systemctl', 'reboot');
  await ended;
  const left = new MadeLog(path.join(work, 'data', 'run')).entries();
  assert.deepEqual(left, [], 'all that was made is undone: the file system was unmounted in order');
  await boot();
  assert.equal((await run('tail', '-1', `${MOUNT}/held`)).trim(), 'last');
  await run('holdfast', 'volume', 'unmount', 'db');
  const device = (await run('holdfast', 'volume', 'attach', 'db')).trim();
  const header = await run('dumpe2fs', '-h', device);
  assert.match(header, /Filesystem state:\s+clean\n/);
  assert.doesNotMatch(header, /needs_recovery/);
  await run('e2fsck', '-f', '-n', device);
});

test('down ends all, and install --remove and uninstall leave nothing', options, async () => {
  const running = await attempt('holdfast', 'install', '--remove');
  assert.match(running.err, /it runs in "\/var\/lib\/holdfast"\nholdfast down ends it/);
  await run('holdfast', 'down');
  for (const unit of UNITS)
    assert.match((await attempt('systemctl', 'is-active', unit)).out, /^inactive/, unit);
  await run('holdfast', 'up');
  await run('holdfast', 'uninstall', '--yes');
  const left = await run(
    'find',
    '/etc',
    '/usr',
    '/run',
    '/var',
    '/tmp',
    '-xdev',
    '-name',
    '*holdfast*',
  );
  // A mount point of the machine, empty.
  assert.equal(left.trim(), '/var/lib/holdfast');
  assert.equal(await run('ls', '-A', '/var/lib/holdfast'), '');
  assert.doesNotMatch(await run('systemctl', 'list-units', '--all', 'holdfast*'), /holdfast-/);
});
