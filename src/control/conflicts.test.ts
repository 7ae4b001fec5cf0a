import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Turnstile } from '../lib/turnstile.ts';
import { SqliteStore } from '../metadata/sqlite-store.ts';
import type { DriveRecord, VolumeRecord } from '../model/records.ts';
import { Drives } from './drives.ts';
import type { ControlParts } from './parts.ts';
import { ProgressBoard } from './progress.ts';
import { RecordsStore } from './records-store.ts';
import { Volumes } from './volumes.ts';

const DRIVE = { name: 'd', id: 'id-d', path: '/d.img', state: 'ready' } as DriveRecord;
const VOLUME = { name: 'db', id: 'id-db', drive: 'd', sizeBytes: 4096, state: 'ready' };

/** Control processes on one store; what their engine is asked is answered after `meanwhile`. */
class Scene {
  readonly calls: string[] = [];
  meanwhile: () => Promise<unknown> = async () => undefined;
  readonly store = new SqliteStore({
    path: ':memory:',
    bootMs: () => 0,
    bootId: 'boot',
    randomId: () => '',
  });
  #nextId = 1;

  async put(volume: Partial<VolumeRecord>, drive: Partial<DriveRecord> = {}): Promise<void> {
    const puts = [
      { key: 'volume/db', record: { ...VOLUME, ...volume } },
      { key: 'drive/d', record: { ...DRIVE, ...drive } },
    ];
    await new RecordsStore(this.store, '/').change({ puts });
  }

  process(): { records: RecordsStore; volumes: Volumes; drives: Drives } {
    const records = new RecordsStore(this.store, '/');
    const call = async (name: string): Promise<object> => {
      this.calls.push(name);
      const { meanwhile } = this;
      this.meanwhile = async () => undefined;
      await meanwhile();
      return name === 'drive.list' ? { drives: [{ driveId: DRIVE.id, state: 'open' }] } : {};
    };
    const parts = {
      records,
      engine: { call },
      turnstile: new Turnstile(),
      progress: new ProgressBoard(),
      wallMs: () => 0,
      newId: () => `id-${this.#nextId++}`,
      onStep: () => undefined,
      askReconcile: () => undefined,
    };
    const drives = new Drives(parts as unknown as ControlParts);
    return { records, drives, volumes: new Volumes(parts as unknown as ControlParts, drives) };
  }
}

test('a step of a volume that another process has changed meanwhile is decided anew, and both hold', async () => {
  const scene = new Scene();
  const { records, volumes } = scene.process();
  await scene.put({ state: 'creating' });
  scene.meanwhile = () => scene.put({ state: 'creating', labels: { app: 'x' } });
  await volumes.settler.settle('db');
  assert.deepEqual(scene.calls, ['volume.create', 'volume.create']);
  const kept = await records.volume('db');
  assert.deepEqual([kept?.record.state, kept?.record.labels], ['ready', { app: 'x' }]);
});

test('what is no longer wanted of a volume is not done', async () => {
  const scene = new Scene();
  const { records, volumes } = scene.process();
  await scene.put({ state: 'removing' });
  scene.meanwhile = () => scene.put({ state: 'ready' });
  await volumes.settler.settle('db');
  assert.equal((await records.volume('db'))?.record.state, 'ready');
});

test('changes of one volume by two processes at once are all made', async () => {
  const scene = new Scene();
  const [a, b] = [scene.process(), scene.process()];
  await scene.put({});
  await Promise.all([
    a.volumes.change('db', { owner: { tenant: 't' } }),
    b.volumes.change('db', { labels: { app: 'x' } }),
  ]);
  const record = (await a.records.volume('db'))?.record;
  assert.deepEqual([record?.owner, record?.labels], [{ tenant: 't' }, { app: 'x' }]);
  const { length } = (await a.records.operations()).filter(({ state }) => state === 'done');
  assert.equal(length, 2);
});

test('the record of a drive that grew keeps what was written to it meanwhile', async () => {
  const scene = new Scene();
  const { records, drives } = scene.process();
  await scene.put({}, { growToBytes: 8192 });
  scene.meanwhile = () => scene.put({}, { growToBytes: 8192, force: true });
  await drives.settle('d');
  const record = (await records.drive('d'))?.record;
  assert.deepEqual([record?.sizeBytes, record?.force], [8192, true]);
});
