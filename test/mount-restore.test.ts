/** A mount that cannot be restored stays wanted: it is told with what ends it, and is there when that ends. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import type { ExplanationView, StatusView, VolumeView } from '../src/control/schemas.ts';
import { device, useCliRig } from './rigs/cli-rig.ts';

const rig = useCliRig();

const inspect = async (): Promise<VolumeView> =>
  (await rig.json('volume', 'inspect', 'v')) as unknown as VolumeView;

async function explained(): Promise<string> {
  const { findings } = (await rig.json('explain', 'volume', 'v')) as unknown as ExplanationView;
  return findings.map(({ kind, chain, ends }) => [kind, ...chain, ends].join('\n')).join('\n');
}

/** It is not there, whoever asks hears of it, and why. */
async function isTold(why: RegExp): Promise<void> {
  assert.equal((await inspect()).mount?.state, 'remounting');
  const found = await explained();
  assert.match(found, /volume\.not_restored/);
  assert.match(found, why);
  assert.match(found, /holdfast volume unmount v gives it up/);
  const { warnings } = (await rig.json('status')) as unknown as StatusView;
  assert.match(warnings.join('\n'), /volume "v" is not mounted at .*holdfast explain volume v/);
}

test(
  'a mount point that is used keeps a volume from being mounted for as long as it is',
  { ...device, timeout: 150_000 },
  async () => {
    await rig.up();
    await rig.json('volume', 'create', 'v', '--size', '64MiB');
    const at = ((await rig.json('volume', 'mount', 'v')) as unknown as VolumeView).mount?.path;
    const witness = path.join(at ?? '', 'witness');
    fs.writeFileSync(witness, 'kept', { flush: true });
    await rig.json('down');
    const inTheWay = path.join(at ?? '', 'theirs');
    fs.mkdirSync(at ?? '', { recursive: true });
    fs.writeFileSync(inTheWay, '');

    const up = await rig.run(['up', '--detach']);
    assert.match(up.err, /volume "v" is not mounted/);
    await isTold(/the directory is not empty/);
    const again = await rig.run(['volume', 'mount', 'v', '--output', 'json']);
    assert.match(again.err, /MOUNT_PATH_USED/);
    await isTold(/the directory is not empty/);

    fs.rmSync(inTheWay);
    for (let tries = 0; tries < 90; tries++) {
      if ((await inspect()).mount?.state === 'mounted') break;
      await sleep(500);
    }
    assert.equal(fs.readFileSync(witness, 'utf8'), 'kept');
    assert.equal(await explained(), '');
    const told = await rig.run(['events', '--volume', 'v']);
    assert.match(told.out, /is attached and mounted again as it was/);
  },
);

test('a damaged file system waits for its repair', { ...device, timeout: 90_000 }, async () => {
  const { mount, attachment } = await inspect();
  const at = attachment?.device ?? '';
  const run = (program: string, ...words: string[]): string =>
    spawnSync(program, words, { encoding: 'utf8' }).stdout;
  // The first inodes, that of the root directory and the witness among them.
  const table = /Inode table at (\d+)-/.exec(run('dumpe2fs', at))?.[1] ?? '';
  assert.match(table, /^\d+$/);
  run('dd', 'if=/dev/urandom', `of=${at}`, `seek=${table}`, 'bs=4096', 'count=1', 'oflag=direct');
  await rig.json('down');
  await rig.json('up', '--detach');
  await isTold(/e2fsck exited with 4.*holdfast volume attach v/);

  const attached = String((await rig.json('volume', 'attach', 'v'))['device']);
  run('e2fsck', '-f', '-y', attached);
  await rig.json('volume', 'mount', 'v');
  assert.deepEqual([await explained(), (await inspect()).mount?.path], ['', mount?.path]);
});

test('a wish for a mount can be given up', { ...device, timeout: 60_000 }, async () => {
  const at = (await inspect()).mount?.path ?? '';
  await rig.json('down');
  fs.mkdirSync(path.join(at, 'theirs'), { recursive: true });
  await rig.json('up', '--detach');
  await isTold(/the directory is not empty/);
  await rig.json('volume', 'unmount', 'v');
  const { mount, attachment } = await inspect();
  assert.deepEqual([mount, attachment, await explained()], [null, null, '']);
});
