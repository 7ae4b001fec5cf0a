import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { AttachmentRecord, MountRecord, VolumeRecord } from '../model/records.ts';
import { USAGE_STALE_MS, type VolumeFacts, explain } from './explain.ts';

const volume: VolumeRecord = {
  name: 'db',
  id: 'id-db',
  drive: 'd',
  sizeBytes: 2 ** 30,
  state: 'ready',
  createdAtMs: 0,
  epoch: 1,
  attachment: undefined,
  mount: undefined,
  resizeToBytes: undefined,
};
const attachment: AttachmentRecord = {
  attachId: 'a',
  wanted: 'device',
  state: 'attached',
  socketPath: '/a.sock',
  device: '/dev/loop9',
};
const mount: MountRecord = {
  path: '/mnt',
  fsType: 'ext4',
  force: false,
  state: 'mounted',
  attached: true,
};
const answers = { problem: undefined, sinceMs: undefined, lastExit: undefined };
const well: VolumeFacts = {
  volume,
  engine: answers,
  attacher: answers,
  isSupervised: true,
  drive: undefined,
  driveStatus: { state: 'open', freeBytes: 1e12, path: '/d.img', badBlocks: [] },
  volumeStatus: { state: 'idle', errors: 0 },
  device: undefined,
  mounted: undefined,
  running: undefined,
  failure: undefined,
  usageAtMs: 1e6,
  nowMs: 1e6,
};
const mounted: VolumeFacts = {
  ...well,
  volume: { ...volume, attachment, mount },
  volumeStatus: { state: 'attached', errors: 0 },
  device: { attachId: 'a', state: 'serving' },
  mounted: { device: '7:9', path: '/mnt', type: 'ext4', source: '/dev/loop9', isReadOnly: false },
};

const kinds = (facts: VolumeFacts): string[] => explain(facts).map(({ kind }) => kind);
const textOf = (facts: VolumeFacts): string =>
  explain(facts)
    .flatMap(({ chain, ends }) => [...chain, ends])
    .join('\n');

test('nothing is found where all is well, at rest and mounted', () => {
  assert.deepEqual(explain(well), []);
  assert.deepEqual(explain(mounted), []);
});

test('a process that is away is the cause, not what hangs on it', () => {
  const away = { problem: 'silent', sinceMs: 5, lastExit: 'process 1 was ended by SIGSEGV' };
  const facts = { ...mounted, engine: away, driveStatus: undefined, volumeStatus: undefined };
  const [found, ...rest] = explain(facts);
  assert.deepEqual(rest, []);
  assert.equal(found?.sinceMs, 5);
  assert.match(textOf(facts), /All I\/O .* waits.*\n.*silent\nprocess 1 was ended by SIGSEGV/);
  assert.match(textOf({ ...well, engine: away }), /cannot be attached/);
  assert.deepEqual(kinds({ ...mounted, attacher: away, device: undefined }), ['attacher.away']);
});

test('a drive is the cause, with the engine’s reason', () => {
  const status = (driveStatus: VolumeFacts['driveStatus']) => ({ ...well, driveStatus });
  assert.deepEqual(kinds(status(undefined)), ['drive.not_open']);
  const faulted = { state: 'faulted', reason: 'fdatasync: EIO' };
  assert.match(
    textOf(status(faulted)),
    /cannot be used\n.*faulted\nfdatasync: EIO\nPut the drive back/,
  );
  assert.match(textOf(status({ ...faulted, sizeBytes: 1 })), /takes no more writes or flushes/);
  assert.deepEqual(kinds(status({ state: 'read-only', reason: 'x' })), ['drive.read_only']);
  assert.deepEqual(kinds(status({ state: 'open', freeBytes: 0 })), ['drive.full']);
});

test('a volume that its drive lost, or that is not served', () => {
  assert.deepEqual(kinds({ ...well, volumeStatus: undefined }), ['volume.lost']);
  assert.deepEqual(kinds({ ...mounted, volumeStatus: { state: 'idle' } }), ['volume.not_served']);
});

test('a device that is gone, waits or has ended', () => {
  assert.deepEqual(kinds({ ...mounted, device: undefined }), ['device.lost']);
  const device = (state: string): VolumeFacts => ({
    ...mounted,
    device: { state, problem: 'why' },
  });
  assert.deepEqual(kinds(device('waiting')), ['device.waiting']);
  assert.deepEqual(kinds(device('ended')), ['device.ended']);
  assert.match(textOf(device('ended')), /fails for good\nwhy/);
});

test('a mount that is lost, covered, read-only or smaller than its volume', () => {
  assert.match(textOf({ ...mounted, mounted: undefined }), /somebody unmounted it/);
  const over = (change: Partial<NonNullable<VolumeFacts['mounted']>>): VolumeFacts => ({
    ...mounted,
    mounted: { ...mounted.mounted!, ...change },
  });
  assert.match(textOf(over({ source: 'tmpfs' })), /tmpfs is mounted over it/);
  assert.deepEqual(kinds(over({ isReadOnly: true })), ['mount.read_only']);
  const later = { ...mounted.volume, mount: { ...mount, growsAtNextMount: true } };
  assert.deepEqual(kinds({ ...mounted, volume: later }), ['mount.grows_later']);
});

test('bad blocks are those of the volume and of metadata, not of other volumes', () => {
  const bad = (of: string, checksumErrors: number, readErrors: number): VolumeFacts => ({
    ...well,
    driveStatus: {
      ...well.driveStatus,
      badBlocks: [{ of, checksumErrors, readErrors, offsetBytes: 4096 }],
    },
  });
  assert.deepEqual(kinds(bad('id-db', 2, 1)), ['volume.checksum_errors', 'volume.read_errors']);
  assert.deepEqual(kinds(bad('metadata', 1, 0)), ['volume.checksum_errors']);
  assert.deepEqual(kinds(bad('id-other', 9, 9)), []);
  assert.deepEqual(kinds({ ...well, volumeStatus: { state: 'idle', errors: 3 } }), [
    'volume.io_errors',
  ]);
});

test('what is under way, with what stood in its way', () => {
  const failure = { id: '', atMs: 0, what: '', cause: 'no room' };
  const changes: Partial<VolumeRecord>[] = [
    { state: 'creating' },
    { attachment: { ...attachment, state: 'attaching' } },
    { resizeToBytes: 2 ** 31 },
  ];
  for (const change of changes) {
    const facts = { ...well, volume: { ...volume, ...change }, failure };
    assert.deepEqual(kinds(facts), ['operation.running'], JSON.stringify(change));
    assert.match(textOf(facts), /no room/);
  }
});

test('what was there and could not be put back, with what ends it', () => {
  const failure = { id: '', atMs: 7, what: '', cause: 'the directory is not empty' };
  const remounting = { ...volume, attachment, mount: { ...mount, state: 'remounting' as const } };
  const facts = { ...mounted, volume: remounting, mounted: undefined, failure };
  assert.deepEqual(kinds(facts), ['volume.not_restored']);
  assert.match(
    textOf(facts),
    /not mounted at \/mnt, as it was\nthe directory is not empty\n.*volume unmount db gives it up/,
  );
  const reattaching = { ...attachment, state: 'reattaching' as const, device: undefined };
  const lost = { ...mounted, volume: { ...volume, attachment: reattaching }, device: undefined };
  assert.match(textOf(lost), /not attached as a block device, as it was\n.*volume detach db gives/);
});

test('a dead supervisor and stale usage are told behind what stops I/O', () => {
  const facts = { ...well, isSupervised: false, nowMs: well.usageAtMs + USAGE_STALE_MS };
  assert.deepEqual(kinds(facts), ['supervisor.dead', 'usage.stale']);
  assert.deepEqual(kinds({ ...well, nowMs: well.usageAtMs + USAGE_STALE_MS - 1 }), []);
});
