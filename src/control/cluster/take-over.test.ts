import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Refusal } from '../../model/errors.ts';
import type { AttachmentRecord, VolumeRecord } from '../../model/records.ts';
import type { ControlParts } from '../parts.ts';
import type { VolumeData } from '../volume-data.ts';
import { VolumeSettler } from '../volume-settler.ts';
import { takeOver } from './take-over.ts';

const attachmentOf = (node: string): AttachmentRecord => ({
  attachId: `of-${node}`,
  node,
  wanted: 'nbd',
  state: 'attaching',
  socketPath: undefined,
  device: undefined,
});

/** This is node a. */
async function setUp(volume: Partial<VolumeRecord>) {
  const { store, records } = memoryRecords();
  const record = { name: 'db', id: 'v', drive: '', state: 'ready', settledBy: 'b', ...volume };
  await records.change({ puts: [{ key: 'volume/db', record }] });
  const parts = {
    records,
    node: 'a',
    wallMs: () => 0,
    onStep: () => undefined,
    progress: { show: () => undefined, clear: () => undefined },
  } as unknown as ControlParts;
  return { store, records, parts };
}

/** Asks as often as there are answers. */
const triesOf = (tries: number) => ({
  until: async <T>(find: () => Promise<T | undefined>): Promise<T | undefined> => {
    for (let tried = 0; tried < tries; tried++) {
      const found = await find();
      if (found !== undefined) return found;
    }
    return undefined;
  },
});

const isAtRest = ({ state }: VolumeRecord): boolean => state === 'ready';
const up = { liveness: () => ({ kind: 'up' }) as const };
const down = { liveness: () => ({ kind: 'down', sinceMs: 0 }) as const };

test('what a node that is gone left half done is settled here', async () => {
  const { records, parts } = await setUp({ state: 'creating' });
  await takeOver('db', { parts, watch: triesOf(1), nodes: down, isAtRest });
  assert.equal((await records.volume('db'))?.record.settledBy, 'a');
});

test('a node that lives is waited for, and not for long', async () => {
  const { records, parts } = await setUp({ state: 'creating' });
  await assert.rejects(
    takeOver('db', { parts, watch: triesOf(2), nodes: up, isAtRest }),
    (error: unknown) => error instanceof Refusal && error.code === 'VOLUME_BUSY',
  );
  const kept = await records.volume('db');
  assert.equal(kept?.record.settledBy, 'b');
  if (kept !== undefined) await records.putVolume({ ...kept.record, state: 'ready' }, kept.version);
  await takeOver('db', { parts, watch: triesOf(1), nodes: up, isAtRest });
});

test('a volume that is attached to another node stays with it', async () => {
  const { records, parts } = await setUp({ state: 'creating', attachment: attachmentOf('b') });
  await takeOver('db', { parts, watch: triesOf(1), nodes: down, isAtRest });
  assert.equal((await records.volume('db'))?.record.settledBy, 'b');
});

test('a volume that another node takes while this one detaches it is not attached here', async () => {
  const detaching = { ...attachmentOf('a'), state: 'detaching' as const };
  const { records, parts } = await setUp({ attachment: detaching });
  const calls: string[] = [];
  const data = {
    attach: () => {
      calls.push('attach');
      return Promise.resolve('/x.sock');
    },
    detach: async (volume: VolumeRecord) => {
      calls.push('detach');
      const taken = { ...volume, attachment: attachmentOf('b') };
      await records.change({ puts: [{ key: 'volume/db', record: taken }] });
    },
  } as unknown as VolumeData;
  await new VolumeSettler(parts, () => data).settle('db');
  assert.deepEqual(calls, ['detach']);
  assert.deepEqual((await records.volume('db'))?.record.attachment?.state, 'attaching');
});
