/** The first `up` and the drive that it makes, and what `uninstall` says of drives that are not its own. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { CliRig } from './rigs/cli-rig.ts';
import { processesOf } from './rigs/control-rig.ts';

const TOO_LARGE = ['--drive-size', '1PiB'];
const rig = new CliRig();

after(() => rig.close());

for (const how of ['--detach', 'in the foreground']) {
  test(`up ${how} that is refused its drive leaves nothing running`, async () => {
    const words = how === '--detach' ? ['up', how, ...TOO_LARGE] : ['up', ...TOO_LARGE];
    const refused = await rig.run(words);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /it needs 1 PiB, and .* are free/);
    assert.match(refused.err, /--drive-size 2GiB/);
    assert.deepEqual(processesOf(rig.directory), []);
    assert.equal((await rig.run(['status'])).code, 3);
  });
}

test('up after a refused one makes the drive that is asked for now', async () => {
  await rig.up();
  const drives = await rig.run(['drive', 'ls']);
  assert.match(drives.out, /default +1 GiB/);
});

test('a file system that there is not is a usage error that names those there are', async () => {
  const refused = await rig.run(['volume', 'mount', 'v', '--fs', 'ntfs']);
  assert.equal(refused.code, 2);
  assert.match(refused.err, /ntfs.*ext4, xfs/);
});

test('uninstall leaves a drive that it did not make, and says so', async () => {
  const outside = path.join(rig.directory, 'outside.img');
  fs.writeFileSync(outside, '');
  fs.truncateSync(outside, 2 ** 30);
  await rig.json('drive', 'add', 'outside', '--path', outside);
  const answer = await rig.json('uninstall', '--yes');
  assert.deepEqual(answer, { uninstalled: true, left: [outside] });
  assert.equal(fs.statSync(outside).size, 2 ** 30);
  assert.ok(!fs.existsSync(rig.data));
});
