import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EIO, ENOSPC } from '../model/errno.ts';
import { CELL, EXTENT, GEOMETRY, VOLUME, writtenDrive, wrong } from '../../sim/checked-drive.ts';

const NEW = new Uint8Array(EXTENT).fill(9);
/** Extents written in `writtenDrive`: their cells are the first ones. */
const WRITTEN = 3;
const DATA = {
  fromBytes: GEOMETRY.cellStart(CELL) * 4096,
  toBytes: GEOMETRY.cellStart(CELL + WRITTEN + 8) * 4096,
};

/** The bytes that occur. */
function held(bytes: Uint8Array = new Uint8Array()): number[] {
  return [...new Set(bytes)];
}

test('a large overwrite that the drive refuses leaves the old content', async () => {
  for (const errno of [EIO, ENOSPC]) {
    const rig = await writtenDrive('closed');
    const store = await rig.open();
    const client = rig.client(store, VOLUME);
    rig.machine.faults.add({
      on: 'write',
      nth: 1,
      within: DATA,
      give: { kind: 'error', errno },
    });
    assert.equal(await client.write(0, NEW), EIO);
    assert.equal(rig.machine.faults.struck.length, 1);
    assert.deepEqual(held(await client.read(0, EXTENT)), [1]);
    assert.equal(await client.flush(), 0);
    await rig.restart();
    assert.deepEqual(wrong(await rig.check({ data: true })), []);
    const again = rig.client(await rig.open(), VOLUME);
    assert.deepEqual(held(await again.read(0, EXTENT)), [1]);
    assert.equal(await again.write(0, NEW), 0);
    assert.deepEqual(held(await again.read(0, EXTENT)), [9]);
  }
});
