/** What explain says of a mounted volume, while what it tells of is really so. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

import type { ExplanationView, StatusView, VolumeView } from '../src/control/schemas.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';

const rig = useCliRig();

async function explain(): Promise<ExplanationView> {
  return (await rig.json('explain', 'volume', 'db')) as unknown as ExplanationView;
}

async function pidOf(role: string): Promise<number> {
  const { processes } = (await rig.json('status')) as unknown as StatusView;
  const pid = processes[role]?.pid ?? 0;
  assert.ok(pid > 1, role);
  return pid;
}

const kindsOf = ({ findings }: ExplanationView): string[] => findings.map(({ kind }) => kind);

function run(program: string, ...words: string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

test(
  'explain tells what is wrong with a mount, and is silent before and after',
  { ...device, timeout: 100_000 },
  async () => {
    await rig.up();
    await rig.json('volume', 'create', 'db', '--size', '128MiB');
    const { mount } = (await rig.json('volume', 'mount', 'db')) as unknown as VolumeView;
    const at = mount?.path ?? '';
    assert.deepEqual(kindsOf(await explain()), []);

    run('mount', '-o', 'remount,ro', at);
    const readOnly = await explain();
    assert.deepEqual(kindsOf(readOnly), ['mount.read_only']);
    assert.match(readOnly.findings[0]?.chain.join('\n') ?? '', /takes no writes\n.*dmesg/);
    run('mount', '-o', 'remount,rw', at);

    const resized = (await rig.json(
      'volume',
      'resize',
      'db',
      '--size',
      '256MiB',
    )) as unknown as VolumeView;
    assert.deepEqual(
      kindsOf(await explain()),
      resized.mount?.growsAtNextMount === true ? ['mount.grows_later'] : [],
    );

    const attacher = await pidOf('attacher');
    process.kill(attacher, 'SIGSTOP');
    try {
      const away = await explain();
      const found = away.findings.find(({ kind }) => kind === 'attacher.away');
      assert.match(
        found?.chain.join('\n') ?? '',
        /block device .* may fail.*\nthe attacher does not answer/,
      );
    } finally {
      process.kill(attacher, 'SIGCONT');
    }

    process.kill(await pidOf('supervisor'), 'SIGKILL');
    const alone = await explain();
    assert.match(JSON.stringify(alone.findings), /supervisor\.dead/);
    await rig.json('up', '--detach');
    assert.doesNotMatch(JSON.stringify((await explain()).findings), /supervisor\.dead/);

    run('umount', at);
    const lost = await explain();
    assert.deepEqual(kindsOf(lost), ['mount.lost']);
    assert.match(lost.findings[0]?.chain.join('\n') ?? '', /somebody unmounted it/);
    await rig.json('volume', 'unmount', 'db');
    assert.deepEqual(kindsOf(await explain()), []);
  },
);
