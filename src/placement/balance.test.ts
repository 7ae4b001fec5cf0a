import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cluster, drive, node, replica, volume } from '../../sim/placement/build.ts';
import { GIB } from '../../sim/placement/random-cluster.ts';
import { imbalanceOf, suggestMoves } from './balance.ts';

const MOVES_MAX = 10;
const one = { replicaCount: 1, minimum: 1 } as const;

test('where all is even nothing is moved', () => {
  const nodes = ['a', 'b', 'c'].map((name) => node(name));
  assert.deepEqual(
    suggestMoves(cluster(nodes, [volume('v', ['a/d', 'b/d', 'c/d'])]), MOVES_MAX),
    [],
  );
});

test('replicas that share a domain are moved apart when there is another', () => {
  const nodes = ['a-1', 'a-2', 'b', 'c'].map((name) => node(name));
  const spread = { level: 'zone', isHard: false } as const;
  const [move, ...more] = suggestMoves(
    cluster(nodes, [volume('v', ['a-1/d', 'a-2/d', 'b/d'], { spread })]),
    MOVES_MAX,
  );
  assert.ok(move?.from.startsWith('a') && move.to === 'c/d' && move.gain === 'spread');
  assert.deepEqual(more, []);
});

test('a group that lost its evenness gets it back', () => {
  const nodes = ['a', 'b', 'c'].map((name) => node(name));
  const volumes = ['a', 'a', 'a', 'b', 'b'].map((name, index) =>
    volume(`v${index}`, [`${name}/d`], { ...one, group: 'g' }),
  );
  const [move, ...more] = suggestMoves(cluster(nodes, volumes), MOVES_MAX);
  assert.ok(move?.from === 'a/d' && move.to === 'c/d' && move.gain === 'group');
  assert.deepEqual(more, []);
});

test('a replica goes beside its consumer', () => {
  const nodes = ['a', 'b', 'c', 'd'].map((name) => node(name));
  const wanted = volume('v', ['a/d', 'b/d', 'c/d'], { localTo: 'd' });
  const [move, ...more] = suggestMoves(cluster(nodes, [wanted]), MOVES_MAX);
  assert.ok(move?.to === 'd/d' && move.gain === 'local');
  assert.deepEqual(more, []);
});

test('full drives are emptied into empty ones, as far as it is worth a copy', () => {
  const nodes = ['a', 'b'].map((name) => node(name));
  const drives = [
    drive('a/d', { promisedBytes: 800 * GIB, writtenBytes: 800 * GIB }),
    drive('b/d', { load: 0.05 }),
  ];
  const volumes = Array.from({ length: 8 }, (_, index) =>
    volume(`v${index}`, ['a/d'], { ...one, sizeBytes: 100 * GIB, writtenBytes: 100 * GIB }),
  );
  const full = cluster(nodes, volumes).with({ drives });
  assert.deepEqual(imbalanceOf(full), {
    fullest: { drive: 'a/d', fill: 0.8 },
    emptiest: { drive: 'b/d', fill: 0 },
    meanFill: 0.4,
  });
  const moves = suggestMoves(full, MOVES_MAX);
  assert.equal(moves.length, 3);
  assert.ok(moves.every(({ from, to, gain }) => from === 'a/d' && to === 'b/d' && gain === 'fill'));
});

test('a volume that is not whole is left alone', () => {
  const nodes = ['a', 'b', 'c', 'd'].map((name) => node(name));
  const replicas = [replica('a/d'), replica('b/d'), replica('c/d', { state: 'stale' })];
  const behind = volume('v', [], { replicas, localTo: 'd' });
  assert.deepEqual(suggestMoves(cluster(nodes, [behind]), MOVES_MAX), []);
});
