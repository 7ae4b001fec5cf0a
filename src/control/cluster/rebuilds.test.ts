import assert from 'node:assert/strict';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Turnstile } from '../../lib/turnstile.ts';
import { Refusal } from '../../model/errors.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import type { HeadKeeper } from './head-keeper.ts';
import type { Nodes } from './nodes.ts';
import { Rebuilds } from './rebuilds.ts';
import type { StoredVolume } from './stored-volumes.ts';

type Kept = { readonly key: string; readonly record: object };

/** What this node, a, asks of heads in one look: `call volume attach id`. Node b is away, c lives. */
async function askedBy(isFirst: boolean, kept: readonly Kept[]): Promise<string[]> {
  const { records } = memoryRecords();
  await records.change({ puts: kept });
  const asked: string[] = [];
  const parts = {
    records,
    node: 'a',
    newAttachId: () => 'new',
    turnstile: new Turnstile(),
    log: () => undefined,
    engine: {
      call: (name: string, { uuid }: JsonObject) => {
        asked.push(`${name} ${String(uuid)}`);
        return name === 'head.minimum'
          ? Promise.reject(new Refusal('ENGINE_UNREACHABLE', { problem: 'silent' }))
          : Promise.resolve({});
      },
    },
  } as unknown as ControlParts;
  const heads = {
    tend: ({ volume: { id } }: StoredVolume, { attachId }: { attachId: string }) => {
      asked.push(`tend ${id} ${attachId}`);
      return Promise.resolve({});
    },
    endTending: ({ volume: { id } }: StoredVolume, attachId: string) => {
      asked.push(`end ${id} ${attachId}`);
      return Promise.resolve();
    },
  } as unknown as HeadKeeper;
  const nodes = {
    isFirst: () => Promise.resolve(isFirst),
    liveness: (name: string) => ({ kind: name === 'b' ? 'down' : 'up', sinceMs: 0 }),
  } as unknown as Nodes;
  const rebuilds = new Rebuilds(parts, { heads, nodes });
  rebuilds.lookSoon(0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await rebuilds.stop();
  return asked;
}

const volume = (id: string, of: object = {}): Kept => ({
  key: `volume/${id}`,
  record: { name: id, id, drive: '', state: 'ready', replication: { count: 1 }, ...of },
});
const set = (id: string, of: object = {}): Kept => ({
  key: `set/${id}`,
  record: { members: [['r', 1]], minimum: 1, ...of },
});
const due = (volumeId: string): Kept => ({
  key: `replica/of-${volumeId}`,
  record: { id: `of-${volumeId}`, volumeId, node: 'c', state: 'ready', isDue: true },
});
const tendedBy = (engine: string) => ({ attachment: { attachId: 'x' }, head: { engine } });

test('a head that an earlier control of this node started to tend a volume goes on, and ends when nothing is left to do', async () => {
  const kept = [volume('v'), set('v', tendedBy('a'))];
  assert.deepEqual(await askedBy(false, kept), ['end v x']);
  assert.deepEqual(await askedBy(false, [...kept, due('v')]), ['tend v x', 'head.rebuild v']);
});

test('a volume in the trash is tended on, and its head ends with that; one that is being purged is left alone', async () => {
  const trashed = (state: string): Kept => ({
    key: 'trash/v',
    record: { volume: volume('v').record, state, removedAtMs: 0, purgeAtMs: 1 },
  });
  const tended = [trashed('kept'), set('v', tendedBy('a'))];
  assert.deepEqual(await askedBy(false, tended), ['end v x']);
  assert.deepEqual(await askedBy(false, [...tended, due('v')]), ['tend v x', 'head.rebuild v']);
  assert.deepEqual(await askedBy(false, [trashed('purging'), set('v', tendedBy('a'))]), []);
});

test('a head that another node tends a volume with is left to it while it lives', async () => {
  const kept = [volume('v'), set('v', tendedBy('c')), due('v')];
  assert.deepEqual(await askedBy(true, kept), []);
  const ofDead = [volume('v'), set('v', tendedBy('b')), due('v')];
  assert.deepEqual(await askedBy(false, ofDead), []);
  assert.deepEqual(await askedBy(true, ofDead), ['tend v x', 'head.rebuild v']);
});

test('a head that does not answer keeps no other volume from its rebuild', async () => {
  const attachment = { attachId: 'x', node: 'a', state: 'attached' };
  const kept = [
    volume('v', { attachment }),
    set('v', { minimum: 2 }),
    volume('w', { attachment }),
    set('w'),
    due('w'),
  ];
  assert.deepEqual(await askedBy(false, kept), ['head.minimum v', 'head.rebuild w']);
});

test('a volume that is being attached or detached gets the replica without which that may stand still', async () => {
  for (const state of ['attaching', 'reattaching', 'detaching']) {
    const attachment = { attachId: 'x', node: 'a', state };
    const kept = [volume('v', { attachment }), set('v'), due('v')];
    assert.deepEqual(await askedBy(false, kept), ['head.rebuild v'], state);
  }
});
