/** The doctor and the bundle for support: what is wrong is really made so, and what is secret is really planted. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { identify } from '../src/attacher/process-identity.ts';
import type { Check } from '../src/cli/doctor/check.ts';
import {
  checkClock,
  checkKernel,
  checkLimits,
  checkMemory,
  checkOomScore,
  checkTools,
} from '../src/cli/doctor/machine.ts';
import type { StatusView } from '../src/control/schemas.ts';
import { CliRig, NOBODY, device, root } from './rigs/cli-rig.ts';

let rig: CliRig;

before(() => {
  rig = new CliRig();
});

after(async () => {
  await rig.run(['down']);
  await rig.close();
});

type Report = { readonly problems: number; readonly checks: readonly Check[] };

async function doctor(
  options: Parameters<CliRig['run']>[1] = {},
): Promise<Report & { readonly code: number }> {
  const { code, out } = await rig.run(['doctor', '--output', 'json'], options);
  return { ...(JSON.parse(out) as Report), code };
}

const verdictOf = ({ checks }: Report, name: string): string | undefined =>
  checks.find((check) => check.name === name)?.verdict;

test('what is not ok has a way out, and a problem ends with 1', async () => {
  const report = await doctor();
  assert.equal(report.code, 0, JSON.stringify(report));
  for (const { verdict, wayOut, name } of report.checks)
    assert.equal(wayOut === undefined, verdict === 'ok', name);
  assert.equal(verdictOf(report, 'data directory'), 'ok');
  assert.equal(verdictOf(report, 'direct I/O'), 'ok');
  assert.equal(fs.existsSync(rig.data), false, 'it makes nothing');
  const people = await rig.run(['doctor']);
  assert.match(people.out, /^ok {7}kernel: Linux /m);
  assert.match(people.out, /^(All is well|0 problems, \d+ warnings)$/m);
});

test('a directory of somebody else, and one that may not be used, are problems', root, async () => {
  const foreign = path.join(rig.directory, 'foreign');
  fs.mkdirSync(foreign);
  fs.writeFileSync(path.join(foreign, 'thesis.txt'), 'x');
  const report = await doctor({ env: { HOLDFAST_DATA: foreign } });
  assert.deepEqual([report.code, verdictOf(report, 'data directory')], [1, 'problem']);
  fs.chmodSync(rig.directory, 0o755);
  const other = await doctor({ uid: NOBODY, env: { HOLDFAST_DATA: path.join(foreign, 'x') } });
  assert.deepEqual([other.code, verdictOf(other, 'data directory')], [1, 'problem']);
  assert.equal(verdictOf(other, 'block devices'), 'warning');
});

test('the doctor reads what kernels, limits and clocks say', () => {
  const verdicts = (checks: readonly Check[]): string[] => checks.map(({ verdict }) => verdict);
  assert.equal(checkKernel('6.1.0-56-amd64').verdict, 'ok');
  assert.equal(checkKernel('5.14.21').verdict, 'warning');
  assert.equal(checkKernel('4.19.0').verdict, 'warning');
  assert.equal(checkMemory('MemAvailable:    8000000 kB\n', 'max\n').verdict, 'ok');
  assert.equal(checkMemory('MemAvailable:     100000 kB\n', 'max\n').verdict, 'warning');
  assert.equal(checkMemory('MemAvailable:    8000000 kB\n', '268435456\n').verdict, 'warning');
  const limits = (files: string): string =>
    `Max open files            1024                 ${files}                 files\nMax locked memory         8388608              unlimited            bytes\n`;
  assert.deepEqual(verdicts(checkLimits(limits('65536'))), ['ok', 'ok']);
  assert.deepEqual(verdicts(checkLimits(limits('1024'))), ['ok', 'warning']);
  assert.equal(checkOomScore('CapEff:\t0000000001000000\n').verdict, 'ok');
  assert.equal(checkOomScore('CapEff:\t00000000feffffff\n').verdict, 'warning');
  assert.equal(checkClock(0).verdict, 'problem');
  const [mounts, ext4] = checkTools(['/nowhere']);
  assert.deepEqual([mounts?.wayOut, ext4?.wayOut], ['apt install mount', 'apt install e2fsprogs']);
});

/** What the doctor says is left, once the last of `pids` is dead. */
async function leftoversOf(pids: readonly number[]): Promise<string> {
  for (let tries = 0; pids.some((pid) => identify(pid) !== undefined); tries++) {
    assert.ok(tries < 1000, 'they die');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const report = await doctor();
  const found = report.checks.find(({ name }) => name === 'leftovers');
  return `${found?.verdict}: ${found?.detail}`;
}

test(
  'what dead processes left, and what is away, is found',
  { ...device, timeout: 60_000 },
  async () => {
    await rig.up();
    const well = await doctor();
    assert.deepEqual([well.code, verdictOf(well, 'processes')], [0, 'ok'], JSON.stringify(well));
    assert.equal(verdictOf(well, 'drive "default"'), 'ok');
    await rig.json('volume', 'create', 'db', '--size', '64MiB');
    await rig.json('volume', 'attach', 'db');
    const { processes } = (await rig.json('status')) as unknown as StatusView;
    const pids = ['supervisor', 'control', 'engine', 'attacher'].map(
      (role) => processes[role]?.pid ?? 0,
    );
    assert.ok(pids.every((pid) => pid > 1));
    for (const pid of pids.slice(0, 2)) process.kill(pid, 'SIGKILL');
    const away = await doctor();
    assert.deepEqual([away.code, verdictOf(away, 'processes')], [1, 'problem']);
    for (const pid of pids.slice(2)) process.kill(pid, 'SIGKILL');
    const left = await leftoversOf(pids);
    assert.match(left, /^warning: a dead run left .*(loop|nbd)/);
    await rig.json('up', '--detach');
    const again = await doctor();
    assert.equal(again.code, 0, JSON.stringify(again));
    const image = path.join(rig.data, 'drives', 'default.img');
    await rig.json('down');
    fs.renameSync(image, `${image}.away`);
    await rig.json('up', '--detach');
    const missing = await doctor();
    assert.deepEqual([missing.code, verdictOf(missing, 'drive "default"')], [1, 'problem']);
    await rig.json('down');
    fs.renameSync(`${image}.away`, image);
  },
);

const SECRET = 'hunter2-c0ffee-do-not-tell';

test('the bundle has what support needs, and no secret', { timeout: 60_000 }, async () => {
  await rig.json('up', '--detach', '--sparse', '--drive-size', '1GiB');
  const { token } = await rig.json('token', 'show');
  const label = `color=${SECRET}-label`;
  await rig.json('volume', 'create', 'secretive', '--size', '8MiB', '--label', label);
  fs.appendFileSync(
    path.join(rig.data, 'log', 'control.log'),
    [
      `{"event":"x","headers":{"authorization":"Bearer ${SECRET}-a"}}`,
      `password=${SECRET}-b and the token itself: ${String(token)}`,
      `nbd://user:${SECRET}-c@host/x`,
      '',
    ].join('\n'),
  );
  const file = path.join(rig.directory, 'bundle.tar.gz');
  const env = { HOLDFAST_TOKEN: `${SECRET}-env`, MY_PASSWORD: `${SECRET}-env2` };
  const ended = await rig.run(['diagnostics', '--file', file, '--output', 'json'], { env });
  assert.equal(ended.code, 0, ended.err);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const folder = path.join(rig.directory, 'unpacked');
  fs.mkdirSync(folder);
  assert.equal(spawnSync('tar', ['-xzf', file, '-C', folder]).status, 0);
  const files = new Map<string, string>();
  for (const name of fs.readdirSync(folder, { recursive: true }) as string[]) {
    const at = path.join(folder, name);
    if (fs.statSync(at).isFile())
      files.set(name.slice(name.indexOf('/') + 1), fs.readFileSync(at, 'utf8'));
  }
  for (const [name, content] of [
    ['versions.json', /"holdfast": "0\.1\.0"/],
    ['doctor.json', /"io_uring"/],
    ['status.json', /"dataDir"/],
    ['metrics.txt', /^holdfast_volumes \d+$/m],
    ['records.json', /"secretive"[^]*"color"/],
    ['log/engine.log', /"engine\.ready"/],
    ['log/control.log', /authorization[^]*\(hidden\)/],
    ['kernel/proc/version', /Linux version/],
    ['supervisor.json', /"processes"/],
    ['processes/engine/limits', /Max locked memory/],
  ] as const) {
    assert.match(files.get(name) ?? `no ${name}`, content);
  }
  const named = (JSON.parse(ended.out) as { readonly entries: readonly string[] }).entries;
  assert.deepEqual([...files.keys()].toSorted(), [...named].toSorted());
  for (const [name, text] of files) {
    assert.ok(!text.includes(SECRET), `${name} tells what was planted`);
    assert.ok(!text.includes(String(token)), `${name} tells the token`);
  }
});

test('a bundle can be had of what does not run', async () => {
  await rig.json('down');
  const file = path.join(rig.directory, 'down.tar.gz');
  assert.equal((await rig.run(['diagnostics', '--file', file])).code, 0);
  const { stdout } = spawnSync(
    'tar',
    ['-xzOf', file, '--wildcards', '*/status.json', '*/records.json'],
    {
      encoding: 'utf8',
    },
  );
  assert.match(stdout, /Cannot be had: Holdfast does not run/);
  assert.match(stdout, /"secretive"/);
  const nowhere = await rig.run(['diagnostics', '--file', path.join(rig.directory, 'no', 'such')]);
  assert.notEqual(nowhere.code, 0);
});
