/** Engine, attacher and control are replaced by rebuilt versions under fio's verify on a mounted file system: nothing on it fails. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import type { StatusView } from '../src/control/schemas.ts';
import { LineClient } from '../src/control/line-client.ts';
import { installationAt } from '../src/control/installation.ts';
import { run, whyNot } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { rebuild } from './rigs/rebuilt.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';

const skip = whyNot('mkfs.ext4', 'fio');
const options = { timeout: 240_000, ...(skip === undefined ? {} : { skip }) };
const rig = new CliRig();
const loads: VerifiedLoad[] = [];
let first: Pids;

type Pids = Readonly<Record<'engine' | 'attacher' | 'control' | 'supervisor', number>>;

before(async () => {
  if (skip !== undefined) return;
  await sweepEarlierTests();
  await rig.up();
  await rig.json('volume', 'create', 'v', '--size', '512MiB');
  await rig.json('volume', 'mount', 'v');
  first = await pids();
});

after(async () => {
  for (const load of loads) load.kill();
  await rig.run(['down']);
  await rig.close();
});

async function pids(): Promise<Pids> {
  const { processes } = (await rig.json('status')) as unknown as StatusView;
  const pidOf = (role: string): number => processes[role]?.pid ?? 0;
  return {
    engine: pidOf('engine'),
    attacher: pidOf('attacher'),
    control: pidOf('control'),
    supervisor: pidOf('supervisor'),
  };
}

/** What engine and attacher say of themselves. */
async function versions(): Promise<string[]> {
  const { engineSocket, attacherSocket } = installationAt(rig.data);
  const engine = new LineClient(engineSocket, 'ENGINE_UNREACHABLE');
  const attacher = new LineClient(attacherSocket, 'ATTACHER_UNREACHABLE');
  await engine.call('drive.list', {});
  await attacher.call('list', {});
  const said = [engine, attacher].map(({ hello }) => String(hello?.['version']));
  engine.close();
  attacher.close();
  return said;
}

/** Writes and verifies on the mounted file system until it is ended; then says the longest that one request took. */
class VerifiedLoad {
  readonly #fio: ChildProcess;
  #said = '';

  constructor() {
    const file = path.join(rig.data, 'mnt', 'v', 'load');
    const words = `--filename=${file} --name=load --rw=randwrite --bsrange=4k-64k --size=64m --direct=1
      --ioengine=libaio --verify_state_save=0 --iodepth=8 --fsync=16 --verify=crc32c --verify_backlog=64 --loops=100000
      --thread --output-format=json`;
    this.#fio = spawn('fio', words.split(/\s+/), { stdio: ['ignore', 'pipe', 'inherit'] });
    loads.push(this);
    this.#fio.stdout?.on('data', (bytes) => (this.#said += String(bytes)));
  }

  kill(): void {
    this.#fio.kill('SIGKILL');
  }

  async end(): Promise<number> {
    assert.equal(this.#fio.exitCode, null, `fio still runs: ${this.#said}`);
    const ended = once(this.#fio, 'exit');
    // It then ends in order, with a report, and status 128; a failure ends it by itself.
    this.#fio.kill('SIGINT');
    await ended;
    assert.equal(this.#fio.exitCode, 128, this.#said);
    const report = JSON.parse(this.#said.slice(this.#said.indexOf('{'))) as {
      jobs: {
        error: number;
        write: { total_ios: number; clat_ns: { max: number } };
        read: { clat_ns: { max: number } };
      }[];
    };
    const job = report.jobs[0]!;
    assert.equal(job.error, 0);
    assert.ok(job.write.total_ios > 100, 'it wrote');
    return Math.max(job.write.clat_ns.max, job.read.clat_ns.max) / 1e6;
  }
}

/** Ten times the bar of 2 s. */
const STALL_GUARD_MS = 20_000;

test('three upgrades, each to another build, under fio with verify', options, async (t) => {
  const load = new VerifiedLoad();
  let known = first;
  for (const version of ['1.0.1', '1.0.2', '1.0.3']) {
    await sleep(300);
    const program = rebuild(rig.directory, version);
    const ended = await rig.run(['upgrade'], { program });
    assert.equal(ended.code, 0, ended.err);
    const now = await pids();
    for (const role of Object.keys(known) as (keyof Pids)[])
      assert.notEqual(now[role], known[role], `${role} is another process`);
    assert.deepEqual(await versions(), [version, version]);
    known = now;
  }
  await sleep(300);
  const longestMs = await load.end();
  t.diagnostic(`the longest request took ${Math.round(longestMs)} ms`);
  assert.ok(longestMs < STALL_GUARD_MS, `${Math.round(longestMs)} ms`);
});

test(
  'what the new version cannot take over is refused, and nothing is stopped',
  options,
  async () => {
    const load = new VerifiedLoad();
    const known = await pids();
    const builds = {
      protocol: [
        {
          file: 'src/wire/line-protocol.ts',
          from: 'LINE_PROTOCOL_VERSION = 1',
          to: 'LINE_PROTOCOL_VERSION = 7',
        },
      ],
      handover: [
        {
          file: 'src/attacher/handover.ts',
          from: 'HANDOVER_VERSION = 1',
          to: 'HANDOVER_VERSION = 7',
        },
      ],
      format: [
        { file: 'src/store/superblock.ts', from: 'FORMAT_VERSION = 1', to: 'FORMAT_VERSION = 7' },
      ],
      // It is ready, and does not live to serve.
      dying: [
        {
          file: 'src/attacher/predecessor.ts',
          from: 'this.#channel.say({ ready: true });',
          to: "process.kill(process.pid, 'SIGKILL');",
        },
      ],
    };
    const said: Record<string, string> = {};
    for (const [name, changes] of Object.entries(builds)) {
      const program = rebuild(rig.directory, `2.0.0-${name}`, changes);
      const ended = await rig.run(['upgrade'], { program });
      assert.equal(ended.code, 1, `${name}: ${ended.err}`);
      said[name] = ended.err;
      assert.deepEqual(await pids(), known, name);
    }
    // Control alone needs them: it would end as often as it is started.
    const incomplete = rebuild(rig.directory, '2.0.0-incomplete');
    const packages = { 'node_modules/missing': { version: '1.0.0' } };
    const lock = path.join(path.dirname(incomplete), '..', 'package-lock.json');
    fs.writeFileSync(lock, JSON.stringify({ packages }));
    const ended = await rig.run(['upgrade'], { program: incomplete });
    assert.match(ended.err, /Not all npm packages/);
    assert.deepEqual(await pids(), known, 'packages');
    assert.match(said['protocol']!, /speaks protocol 1, and 7 is needed/);
    assert.match(
      said['handover']!,
      /takes over by version 7, and the one that runs hands over by version 1/,
    );
    assert.match(said['format']!, /has format 1, and this version reads 7/);
    assert.match(said['dying']!, /ended before it was ready/);
    await load.end();
  },
);

test(
  'an attacher killed once its successor has the word, and an upgrade killed anywhere, fail nothing',
  options,
  async () => {
    const load = new VerifiedLoad();
    const killing = rebuild(rig.directory, '3.0.0', [
      {
        file: 'src/attacher/predecessor.ts',
        from: 'this.#channel.say({ serving: true });',
        to: "process.kill(process.ppid, 'SIGKILL');",
      },
    ]);
    const ended = await rig.run(['upgrade'], { program: killing });
    assert.equal(ended.code, 0, ended.err);
    assert.deepEqual(await versions(), ['3.0.0', '3.0.0']);

    const program = rebuild(rig.directory, '3.0.1');
    for (const afterMs of [300, 600, 1000]) {
      const upgrade = rig.start(['upgrade'], { program });
      await sleep(afterMs);
      upgrade.kill('SIGKILL');
      const again = await rig.run(['up', '--detach'], { program });
      assert.ok(again.code === 0 || again.err.includes('runs in'), again.err);
    }
    const last = await rig.run(['upgrade'], { program });
    assert.equal(last.code, 0, last.err);
    assert.deepEqual(await versions(), ['3.0.1', '3.0.1']);
    await load.end();
    await rig.json('volume', 'unmount', 'v');
    const { device } = (await rig.json('volume', 'attach', 'v')) as { device: string };
    assert.match(run('e2fsck', '-f', '-n', device), /clean|\d+\/\d+ files/);
  },
);
