import assert from 'node:assert/strict';
import { test } from 'node:test';

import { drivePartsOf, memoryRecords } from '../../test/rigs/memory-records.ts';
import type { VolumeRecord } from '../model/records.ts';
import type { Drives } from './drives.ts';
import { Reconciler } from './reconciler.ts';
import { type StallWatch, findStalled, unlessStalled } from './stalled-volumes.ts';
import type { Trash } from './trash.ts';
import type { Volumes } from './volumes.ts';

/** Time as the test has it, and why I/O on volumes stands still. */
class Scene {
  nowMs = 0;
  reasons: Readonly<Record<string, string>> = {};
  onSleep: () => void = () => undefined;
  readonly watch: StallWatch = {
    reasonOf: async ({ name }) => this.reasons[name],
    sleep: async (ms) => {
      this.nowMs += ms;
      this.onSleep();
    },
  };
}

// The rest of a record is not looked at.
const volume = (name: string): VolumeRecord => ({ name }) as Partial<VolumeRecord> as VolumeRecord;
const REASON = 'I/O stands still: 1 of at least 2 in-sync replicas are reached';

test('a stall is told of once it has stood for 5 s, and one that ends before is none', async () => {
  const scene = new Scene();
  assert.deepEqual(await findStalled([volume('db')], scene.watch), []);
  assert.equal(scene.nowMs, 0, 'without a stall nobody waits');
  scene.reasons = { db: REASON, short: REASON };
  scene.onSleep = () => {
    if (scene.nowMs >= 4000) scene.reasons = { db: REASON };
  };
  const found = await findStalled([volume('short'), volume('db')], scene.watch);
  assert.deepEqual(
    found.map(({ code, message }) => [code, message]),
    [['VOLUME_STALLED', `Cannot unmount volume "db": ${REASON}`]],
  );
  assert.equal(scene.nowMs, 5000);
});

test('work on a volume that begins to stand still is left, and work that ends is not', async () => {
  const scene = new Scene();
  scene.onSleep = () => (scene.reasons = { db: REASON });
  const stuck = new Promise<string>(() => undefined);
  await assert.rejects(unlessStalled(volume('db'), stuck, scene.watch), { code: 'VOLUME_STALLED' });
  const slow = Promise.withResolvers<string>();
  scene.reasons = {};
  scene.onSleep = () => {
    if (scene.nowMs > 60_000) slow.resolve('synced');
  };
  assert.equal(await unlessStalled(volume('db'), slow.promise, scene.watch), 'synced');
  await assert.rejects(unlessStalled(volume('db'), Promise.reject(new Error('EIO')), scene.watch), {
    message: 'EIO',
  });
});

/** Two volumes with a device each, of which db stands still; and what is called of whom. */
async function installation(context: { after: (end: () => Promise<void>) => void }) {
  const { store, records } = memoryRecords();
  context.after(() => store.close());
  const calls: string[] = [];
  const base = drivePartsOf('/', records, async () => ({}));
  const call = async (name: string, { attachId }: Record<string, unknown>) => {
    calls.push(`${name} ${String(attachId)}`);
    return {};
  };
  const parts = { ...base, attacher: { call } } as unknown as typeof base;
  const recordOf = (name: string) => ({
    name,
    id: `id-${name}`,
    state: 'ready',
    attachment: {
      attachId: `attach-${name}`,
      node: 'a',
      wanted: 'device',
      state: 'attached',
      device: `/dev/${name}`,
    },
  });
  const names = ['db', 'ok'];
  await records.change({
    puts: names.map((name) => ({ key: `volume/${name}`, record: recordOf(name) })),
  });
  const scene = new Scene();
  scene.reasons = { db: REASON };
  const volumes: Partial<Volumes> = { stallOf: scene.watch.reasonOf };
  const reconciler = new Reconciler(parts, {
    drives: {} as Drives,
    volumes: volumes as Volumes,
    trash: {} as Trash,
    sleep: scene.watch.sleep,
  });
  const stateOf = async (name: string) => (await records.volume(name))?.record.attachment?.state;
  return { reconciler, calls, scene, stateOf };
}

test('an end is refused where I/O stands still, and nothing is begun', async (context) => {
  const { reconciler, calls, scene, stateOf } = await installation(context);
  const refused = await reconciler.release();
  assert.deepEqual(refused.stalled, [{ volume: 'db', reason: REASON }]);
  assert.equal(refused.problems.length, 1);
  assert.deepEqual([calls, await stateOf('db'), await stateOf('ok')], [[], 'attached', 'attached']);
  scene.reasons = {};
  assert.deepEqual(await reconciler.release(), { problems: [], stopped: [], stalled: [] });
  assert.deepEqual(calls.toSorted(), ['detach attach-db', 'detach attach-ok']);
  assert.deepEqual([await stateOf('db'), await stateOf('ok')], ['reattaching', 'reattaching']);
});
