import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DriveRig, SMALL } from '../../sim/drive-rig.ts';

/** Operations on the drive that opening it takes. */
async function operationsToOpen(chunkCountMax: number): Promise<number> {
  const rig = new DriveRig();
  const { sizeBytes, ...geometry } = SMALL;
  await rig.format({ sizeBytes: sizeBytes + 2 ** 20, geometry: { ...geometry, chunkCountMax } });
  const before = rig.machine.operationCount;
  const store = await rig.open();
  const count = rig.machine.operationCount - before;
  await rig.run(store.close());
  return count;
}

test('opening a drive reads no directory for chunks that it may grow to', async () => {
  // 2,048 chunks of 2 pages fill four more directory pages, of two copies each.
  assert.equal(await operationsToOpen(2048), await operationsToOpen(16));
});
