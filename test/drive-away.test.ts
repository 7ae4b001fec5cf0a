/** A drive that is away while its volumes are detached and removed: nothing of them is left when it is back. */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

import type { DriveView } from '../src/control/drive-schemas.ts';
import { CMD_FLUSH, CMD_WRITE } from '../src/wire/nbd/constants.ts';
import { until } from './rigs/attach-rig.ts';
import { useCliRig } from './rigs/cli-rig.ts';
import { clientOf } from './rigs/monitoring.ts';

const rig = useCliRig();

/** Makes a volume, attached, with something on it. */
async function written(name: string): Promise<void> {
  await rig.json('volume', 'create', name, '--size', '16MiB');
  const { uri } = await rig.json('volume', 'attach', name, '--nbd');
  const client = await clientOf(String(uri));
  for (const request of [
    { type: CMD_WRITE, offset: 0, data: Buffer.alloc(65_536, 1) },
    { type: CMD_FLUSH },
  ]) {
    client.request(request);
    await client.reply();
  }
  client.destroy();
}

async function usedBytes(): Promise<number | null | undefined> {
  const [drive] = (await rig.json('drive', 'ls')) as unknown as DriveView[];
  return drive?.usedBytes;
}

test('volumes that are removed while their drive is away give their space back', async () => {
  await rig.up();
  for (const name of ['removed', 'attached', 'kept']) await written(name);
  await rig.json('volume', 'detach', 'removed');
  assert.equal(await usedBytes(), 3 * 65_536);
  await rig.json('down');
  const image = path.join(rig.data, 'drives', 'default.img');
  fs.renameSync(image, `${image}.away`);
  await rig.json('up', '--detach');
  await rig.json('volume', 'rm', 'removed', '--now', '--yes');
  await rig.json('volume', 'detach', 'attached');
  await rig.json('volume', 'rm', 'attached', '--yes');
  assert.deepEqual(await rig.json('trash', 'empty', '--yes'), { purged: 1 });
  await rig.json('down');
  fs.renameSync(`${image}.away`, image);
  await rig.json('up', '--detach');
  await until(async () => (await usedBytes()) === 65_536);
  const [kept, more] = (await rig.json('volume', 'ls')) as unknown as { name: string }[];
  assert.deepEqual([kept?.name, more], ['kept', undefined]);
});

test('a drive that does not come back is removed with its volumes', async () => {
  await rig.json('down');
  fs.rmSync(path.join(rig.data, 'drives', 'default.img'));
  await rig.json('up', '--detach');
  await rig.json('volume', 'detach', 'kept');
  await rig.json('volume', 'rm', 'kept', '--now', '--yes');
  await rig.json('drive', 'rm', 'default', '--yes');
  assert.deepEqual(await rig.json('drive', 'ls'), []);
  await rig.json('uninstall', '--yes');
});
