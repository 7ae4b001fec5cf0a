import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, Refusal } from '../model/errors.ts';
import { checksumOf } from '../lib/checksum.ts';
import { DriveRig, SMALL } from '../../sim/drive-rig.ts';
import type { FormatOptions } from './format-drive.ts';

const TEXT = new TextEncoder();
const DEVICE_BYTES = SMALL.sizeBytes;

/** The code of the refusal that formatting ends in, or undefined. */
async function refusalOf(
  rig: DriveRig,
  options: Partial<FormatOptions> = {},
): Promise<string | undefined> {
  try {
    await rig.format(options);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Refusal, String(error));
    return `${error.code}: ${error.message}`;
  }
}

test('a device with something on it is not formatted, and not changed, unless it is forced', async () => {
  const rig = new DriveRig();
  rig.place(DEVICE_BYTES, [{ at: 0, bytes: TEXT.encode('XFSB') }]);
  assert.match((await refusalOf(rig)) ?? '', /^DRIVE_SIGNATURE: .*an xfs file system/);
  const start = new Uint8Array(4);
  rig.disk.read(0, start);
  assert.deepEqual(start, TEXT.encode('XFSB'));
  assert.equal(await refusalOf(rig, { force: true }), undefined);
  rig.disk.read(0, start);
  assert.notDeepEqual(start, TEXT.encode('XFSB'));
  await rig.run((await rig.open()).close());
});

test('what lies at the end of a device counts too', async () => {
  const rig = new DriveRig();
  rig.place(DEVICE_BYTES, [{ at: DEVICE_BYTES - 512, bytes: TEXT.encode('EFI PART') }]);
  assert.match((await refusalOf(rig)) ?? '', /^DRIVE_SIGNATURE: .*GPT/);
});

test('data that nothing names is not formatted either, wherever it lies', async () => {
  const between = DEVICE_BYTES / 2 + 2 ** 20 + 5;
  const places = [0, 511, 200_000, DEVICE_BYTES / 16, between, DEVICE_BYTES - 1];
  for (const at of places) {
    const rig = new DriveRig();
    const sector = Math.floor(at / 512) * 512;
    const bytes = new Uint8Array(512);
    bytes[at - sector] = 7;
    rig.place(DEVICE_BYTES, [{ at: sector, bytes }]);
    const refusal = (await refusalOf(rig)) ?? '';
    assert.equal(
      refusal,
      `DRIVE_SIGNATURE: Cannot format "/sim/drive.img": it holds data (byte ${at} is not zero)`,
    );
    const after = new Uint8Array(512);
    rig.disk.read(sector, after);
    assert.deepEqual(after, bytes, 'nothing was changed');
    assert.equal(await refusalOf(rig, { force: true }), undefined);
  }
});

test('files that are smaller than a block, or end within one, are looked at to their end', async () => {
  for (const sizeBytes of [512, 4096 + 512, 300 * 1024 + 512]) {
    const rig = new DriveRig();
    rig.place(sizeBytes, [{ at: sizeBytes - 512, bytes: new Uint8Array(512).fill(7) }]);
    assert.match((await refusalOf(rig)) ?? '', /^DRIVE_SIGNATURE: .*data/);
    rig.place(sizeBytes, []);
    assert.equal(await refusalOf(rig), undefined, 'zeros may be taken');
  }
});

test('a format that was killed anywhere is asked for again, and is done', async () => {
  const driveUuid = '5d1c0d4e93a84a4c9d0c4a2a2a8d7b11';
  const whole = new DriveRig();
  await whole.format({ driveUuid, sparse: false });
  const operations = whole.machine.operationCount;
  for (let count = 1; count <= operations; count += count < operations - 8 ? 37 : 1) {
    const rig = new DriveRig();
    rig.killAfter(count);
    await rig.format({ driveUuid, sparse: false }).catch(() => undefined);
    await rig.restart();
    assert.equal((await rig.format({ driveUuid, sparse: false })).driveUuid, driveUuid);
    await rig.run((await rig.open()).close());
  }
});

test('a drive is not formatted again by mistake', async () => {
  const rig = new DriveRig();
  await rig.format();
  assert.match((await refusalOf(rig)) ?? '', /^DRIVE_SIGNATURE: .*a Holdfast drive/);
});

test('a drive in use is busy, by force too', async () => {
  const rig = new DriveRig();
  await rig.format();
  // Another process: the lock is between processes.
  const other = rig.machine.start(new WebAssembly.Memory({ initial: 1, maximum: 1 }));
  const held = await rig.run(
    other.env.files.open('/sim/drive.img', { exclusive: true, direct: true }),
  );
  assert.match((await refusalOf(rig, { force: true })) ?? '', /^DRIVE_BUSY/);
  await assert.rejects(rig.open(), { code: 'DRIVE_BUSY' });
  await assert.rejects(rig.check(), { code: 'DRIVE_BUSY' });
  await rig.run(other.env.files.close(held.fd));
  await rig.run((await rig.open()).close());
});

test('a drive without room for a chunk is refused, with the size that would do', async () => {
  const rig = new DriveRig();
  const refusal = await refusalOf(rig, { sizeBytes: 2 ** 20 });
  assert.match(refusal ?? '', /^DRIVE_TOO_SMALL/);
  assert.equal(rig.machine.disks.size, 0, 'the file that it made is gone');
});

test('a new file needs a size', async () => {
  const rig = new DriveRig();
  const noSize = { sizeBytes: undefined } as unknown as Partial<FormatOptions>;
  await assert.rejects(rig.format(noSize), { code: 'SIZE_INVALID' });
});

test('until its superblock is written the drive is none', async () => {
  const rig = new DriveRig();
  rig.place(DEVICE_BYTES, []);
  const whole = new DriveRig();
  await whole.format();
  const operations = whole.machine.operationCount;
  const format = rig.format();
  format.catch(() => undefined);
  rig.machine.onOperation = () => {
    // The last but three: before the two copies of the superblock and their flush.
    if (rig.machine.operationCount === operations - 3)
      rig.machine.powerOff((disk) => disk.flush(Infinity));
  };
  await assert.rejects(format, /nothing is left to happen/);
  rig.machine.onOperation = undefined;
  await rig.restart();
  await assert.rejects(rig.open(), (error: unknown) => {
    assert.ok(error instanceof Fault);
    return /no superblock/.test(String(error.details['problem']));
  });
});

test('a newer version beside an older superblock is refused by name', async () => {
  const rig = new DriveRig();
  await rig.format();
  await rig.run((await rig.open()).close());
  // Both slots hold a superblock of ours; one of them becomes a newer program's.
  const words = rig.arena.u32;
  const address = rig.arena.reserve(4096, 4096);
  const block = rig.arena.u8.subarray(address, address + 4096);
  rig.disk.read(0, block);
  words[(address >>> 2) + 2] = 2;
  words[(address >>> 2) + 3] = 0;
  words[(address >>> 2) + 3] = checksumOf(rig.arena.memory)(address, 4096, 2, 0);
  rig.disk.apply({ completed: 0 }, 0, block);
  await assert.rejects(rig.open(), (error: unknown) => {
    assert.ok(error instanceof Fault);
    return /format version 2, this build reads 1/.test(String(error.details['problem']));
  });
});

test('a file that was cut off is refused', async () => {
  const rig = new DriveRig();
  await rig.format();
  rig.disk.sizeBytes -= 65_536;
  await assert.rejects(rig.open(), (error: unknown) => {
    assert.ok(error instanceof Fault);
    return /it was cut off/.test(String(error.details['problem']));
  });
});
