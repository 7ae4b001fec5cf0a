import assert from 'node:assert/strict';
import {
  copyFileSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  writeFileSync,
  readFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type DeviceFacts, deviceKind, findMount, readDeviceFacts } from './device-facts.ts';
import { type FlushTiming, timeFlushes } from './flush-timing.ts';
import { judgeFlush } from './flush-verdict.ts';
import {
  BATCH_COUNT_MAX,
  checkWitness,
  SLOT_COUNT,
  WITNESS_FILE_NAME,
  WitnessWriter,
} from './witness-records.ts';

const SSD: DeviceFacts = {
  fileSystem: 'ext4',
  mountPoint: '/',
  mountOptions: ['rw'],
  kind: 'solid-state disk',
  device: 'nvme0n1',
  writeCache: 'write back',
  fua: true,
};
const SOUND: FlushTiming = {
  flushCount: 256,
  flushMedianUs: 600,
  flushLeastUs: 400,
  writeMedianUs: 20,
  direct: true,
  deviceFlushCount: 260,
};

function inFolder(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-durability-'));
  try {
    use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('checkWitness finds all records after a run, also after the ring has turned', () => {
  inFolder((folder) => {
    const writer = new WitnessWriter(folder);
    let last = 0;
    while (last < SLOT_COUNT + 100) last = writer.next(16);
    writer.close();
    const result = checkWitness(folder, last);
    assert.deepEqual([result.kind, result.expectedCount], ['kept', SLOT_COUNT - BATCH_COUNT_MAX]);
    // The witness may have missed the last numbers: newer records than it saw are no loss.
    assert.equal(checkWitness(folder, last - 40).kind, 'kept');
    const old = checkWitness(folder, 16);
    assert.deepEqual([old.kind, old.expectedCount], ['unknown', 0]);
    assert.match(old.summary, /^Cannot say/u);
  });
});

test('canary: a file rolled back to an earlier flush is reported with the numbers lost', () => {
  inFolder((folder) => {
    const path = join(folder, WITNESS_FILE_NAME);
    const writer = new WitnessWriter(folder);
    writer.next(10);
    copyFileSync(path, `${path}.old`);
    writer.next(5);
    writer.close();
    copyFileSync(`${path}.old`, path);
    const result = checkWitness(folder, 15);
    assert.deepEqual(result.losses, [{ firstNumber: 11, lastNumber: 15 }]);
    assert.match(result.summary, /lost flushed data: records 11\.\.15/u);
  });
});

test('canary: a truncated, a missing and a torn record are reported', () => {
  inFolder((folder) => {
    const path = join(folder, WITNESS_FILE_NAME);
    const writer = new WitnessWriter(folder);
    writer.next(20);
    writer.close();
    const torn = readFileSync(path);
    torn.fill(0, 7 * 4096 + 512, 7 * 4096 + 1024);
    writeFileSync(path, torn);
    assert.deepEqual(checkWitness(folder, 20).losses, [{ firstNumber: 7, lastNumber: 7 }]);
    truncateSync(path, 11 * 4096);
    assert.equal(checkWitness(folder, 20).losses.at(-1)?.lastNumber, 20);
    rmSync(path);
    // Lost, or of a run that was elsewhere: that it is gone is told, and no verdict on the drive.
    const { losses, kind, summary } = checkWitness(folder, 20);
    assert.deepEqual([losses, kind], [[{ firstNumber: 1, lastNumber: 20 }], 'unknown']);
    assert.match(
      summary,
      /no records of a run in .* If a run was there, the drive lost the whole file/,
    );
  });
});

test('checkWitness asks whether a number far above all that is there was printed', () => {
  inFolder((folder) => {
    const writer = new WitnessWriter(folder);
    writer.next(20);
    writer.close();
    const { kind, summary } = checkWitness(folder, 2000);
    assert.equal(kind, 'lost');
    assert.match(
      summary,
      /records 21\.\.2000\. The highest that is there is 20: was 2000 printed by this run\?/,
    );
  });
});

test('checkWitness forgives slots that the interrupted flush may have torn', () => {
  inFolder((folder) => {
    const path = join(folder, WITNESS_FILE_NAME);
    const writer = new WitnessWriter(folder);
    let last = 0;
    while (last < SLOT_COUNT) last = writer.next(BATCH_COUNT_MAX);
    writer.close();
    const bytes = readFileSync(path);
    // The next flush would have written the slots of the oldest records: 1 to 64.
    bytes.fill(0xee, 4096 + 512, 4096 + 1024);
    writeFileSync(path, bytes);
    assert.equal(checkWitness(folder, last).kind, 'kept');
    bytes.fill(0xee, 65 * 4096 + 512, 65 * 4096 + 1024);
    writeFileSync(path, bytes);
    assert.deepEqual(checkWitness(folder, last).losses, [{ firstNumber: 65, lastNumber: 65 }]);
  });
});

test('judgeFlush calls a slow flush that reached the drive plausible', () => {
  assert.equal(judgeFlush(SSD, SOUND).kind, 'plausible');
});

test('judgeFlush refutes memory, barriers that are off, and flushes that never reach the drive', () => {
  const cases: [DeviceFacts, FlushTiming][] = [
    [{ ...SSD, kind: 'memory', fileSystem: 'tmpfs' }, SOUND],
    [{ ...SSD, mountOptions: ['rw', 'nobarrier'] }, SOUND],
    [SSD, { ...SOUND, deviceFlushCount: 2 }],
  ];
  for (const [facts, timing] of cases) assert.equal(judgeFlush(facts, timing).kind, 'refuted');
});

test('judgeFlush leaves open what cannot be seen from here', () => {
  const cases: [DeviceFacts, FlushTiming][] = [
    [{ ...SSD, kind: 'virtual disk' }, SOUND],
    [
      { ...SSD, writeCache: 'write through' },
      { ...SOUND, deviceFlushCount: 0 },
    ],
    [
      { ...SSD, kind: 'rotating disk' },
      { ...SOUND, flushMedianUs: 900 },
    ],
    [SSD, { ...SOUND, flushMedianUs: 45 }],
  ];
  for (const [facts, timing] of cases) assert.equal(judgeFlush(facts, timing).kind, 'unproven');
});

test('findMount takes the longest mount point and undoes the escapes', () => {
  const mountinfo = [
    '22 1 254:0 / / rw,relatime - ext4 /dev/vda rw',
    '30 22 0:40 / /mnt/a\\040b rw - tmpfs tmpfs rw,size=1k',
    '31 22 8:1 / /mnt rw - xfs /dev/sda1 rw,nobarrier',
  ].join('\n');
  assert.equal(findMount('/mnt/a b/c', mountinfo)?.fileSystem, 'tmpfs');
  assert.deepEqual(findMount('/mnt/x', mountinfo)?.options, ['rw', 'rw', 'nobarrier']);
  assert.equal(findMount('/mntx', mountinfo)?.mountPoint, '/');
});

test('deviceKind tells memory, network and virtual disks apart', () => {
  assert.equal(deviceKind('tmpfs', undefined, undefined), 'memory');
  assert.equal(deviceKind('nfs4', undefined, undefined), 'network file system');
  assert.equal(deviceKind('ext4', 'vda', undefined), 'virtual disk');
  assert.equal(deviceKind('ext4', 'sda', 'QEMU HARDDISK'), 'virtual disk');
  assert.equal(deviceKind('xfs', 'dm-3', undefined), 'device mapper');
});

test('timeFlushes measures the disk of the temporary folder and leaves no file', () => {
  inFolder((folder) => {
    const facts = readDeviceFacts(folder);
    const timing = timeFlushes(folder, facts);
    assert.ok(timing.flushCount > 0 && timing.flushMedianUs > 0);
    assert.ok(judgeFlush(facts, timing).summary.length > 0);
  });
});
