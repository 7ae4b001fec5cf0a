/** Who may end a mount. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { MountRecord, VolumeRecord } from '../model/records.ts';
import { API_HOLDER, holdersOf, withHolder, withoutHolder } from './mount-holders.ts';

const VOLUME: VolumeRecord = {
  name: 'db',
  id: '0',
  drive: 'default',
  sizeBytes: 4096,
  state: 'ready',
  epoch: 1,
  createdAtMs: 0,
  attachment: undefined,
  mount: undefined,
  resizeToBytes: undefined,
};

const heldBy = (...holders: readonly string[]): MountRecord => ({
  path: '/srv',
  fsType: 'ext4',
  force: false,
  state: 'mounted',
  growsAtNextMount: false,
  attached: true,
  holders,
});

const gone = { holder: 'docker/', isPrefix: true, force: false };

test('an engine that has no use for a volume ends what it held alone', () => {
  const mount = withoutHolder(VOLUME, heldBy('docker/a', 'docker/b'), gone);
  assert.equal(mount.state, 'unmounting');
  assert.equal(withoutHolder(VOLUME, heldBy(), gone).state, 'unmounting');
});

test('who has come to hold it since keeps it', () => {
  for (const other of ['api', 'podman/a', 'docker2/a']) {
    const mount = heldBy('docker/a', other);
    assert.deepEqual(withoutHolder(VOLUME, mount, gone), mount);
  }
});

test('a mount without an id is one of its own', () => {
  const mount = withoutHolder(VOLUME, heldBy('docker/a', 'docker/'), { ...gone, isPrefix: false });
  assert.deepEqual([mount.state, holdersOf(mount)], ['mounted', ['docker/a']]);
});

test('a file system is made by force once, and over one that is mounted never', () => {
  const wish = { fsType: undefined, path: undefined, holder: API_HOLDER, bootId: '1' };
  const mount = heldBy(API_HOLDER);
  assert.equal(withHolder(VOLUME, mount, { ...wish, force: false }).state, 'mounted');
  const forced = { ...wish, force: true };
  assert.throws(() => withHolder(VOLUME, mount, forced), { code: 'MOUNT_PRESENT' });
  const made = { ...mount, wasForced: true };
  assert.equal(withHolder(VOLUME, made, forced).state, 'mounted');
  const waiting = { ...made, state: 'remounting' as const };
  assert.throws(() => withHolder(VOLUME, waiting, forced), { code: 'MOUNT_PRESENT' });
});
