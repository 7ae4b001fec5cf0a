import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cluster, node, replica, volume } from '../../sim/placement/build.ts';
import type { Cluster } from './cluster.ts';
import { type Node, withMark, withNew } from './model.ts';
import { decideRepairs, GRACE_MS, type Repairs } from './repairs.ts';

const SIX = ['a', 'b', 'c', 'd', 'e', 'f'];
const DOWN = { liveness: { kind: 'down', sinceMs: 0 } } as const;

/** The six nodes with a drive each, of which `changes` names some. */
function nodes(changes: { readonly [name: string]: Partial<Node> } = {}): Node[] {
  return SIX.map((name) => node(name, changes[name] ?? {}));
}

function decide(of: Cluster, nowMs: number, rebuildsMax = 8): Repairs {
  return decideRepairs(of, { nowMs, graceMs: GRACE_MS, rebuildsMax });
}

test('where all is well nothing is done', () => {
  const all = cluster(nodes(), [volume('v', ['a/d', 'b/d', 'c/d'])]);
  assert.deepEqual(decide(all, 0), { changes: [], rebuilds: [], held: [] });
});

test('a missing replica is replaced when its grace is over', () => {
  const all = cluster(nodes({ a: DOWN }), [volume('v', ['a/d', 'b/d', 'c/d'])]);
  assert.deepEqual(decide(all, GRACE_MS - 1), {
    changes: [],
    rebuilds: [],
    held: [{ volume: 'v', drive: 'a/d', hold: { kind: 'grace', untilMs: GRACE_MS } }],
  });
  const [change, ...more] = decide(all, GRACE_MS).changes;
  assert.ok(change?.kind === 'replace' && change.drive === 'a/d' && more.length === 0);
  assert.ok(['d/d', 'e/d', 'f/d'].includes(change.by));
});

test('a replica of a faulted drive is missing like one of a node that is down', () => {
  const well = cluster(nodes(), [volume('v', ['a/d', 'b/d', 'c/d'])]);
  const drives = well
    .drives()
    .map((drive) => (drive.id === 'a/d' ? { ...drive, downSinceMs: 0 } : drive));
  assert.equal(decide(well.with({ drives }), GRACE_MS - 1).held[0]?.hold.kind, 'grace');
  assert.equal(decide(well.with({ drives }), GRACE_MS).changes[0]?.kind, 'replace');
});

test('with one copy left nothing waits', () => {
  const all = cluster(nodes({ a: DOWN }), [volume('v', ['a/d', 'b/d'], { replicaCount: 2 })]);
  assert.equal(decide(all, 1).changes[0]?.kind, 'replace');
});

test('with no copy left there is nothing to copy from', () => {
  const all = cluster(nodes({ a: DOWN }), [volume('v', ['a/d'], { replicaCount: 1 })]);
  assert.deepEqual(decide(all, GRACE_MS).held[0]?.hold, { kind: 'no copy' });
});

test('nothing is replaced while more than a third of the nodes are away, also with one copy left', () => {
  const three = { a: DOWN, b: DOWN, c: { liveness: { kind: 'unreachable', sinceMs: 0 } } } as const;
  const volumes = [
    volume('one left', ['a/d', 'd/d'], { replicaCount: 2 }),
    volume('two left', ['b/d', 'd/d', 'e/d']),
    volume('of c', ['c/d', 'd/d', 'e/d']),
  ];
  const { changes, held } = decide(cluster(nodes(three), volumes), GRACE_MS);
  assert.deepEqual(changes, []);
  const brake = { kind: 'nodes away', away: 3, of: 6 };
  assert.deepEqual(held, [
    { volume: 'one left', drive: 'a/d', hold: brake },
    { volume: 'two left', drive: 'b/d', hold: brake },
  ]);
  const two = cluster(nodes({ a: DOWN, b: DOWN }), volumes);
  assert.equal(decide(two, GRACE_MS).changes.length, 2);
});

test('nodes whose replicas were replaced no longer count as away', () => {
  const volumes = ['a/d', 'b/d'].map((lost) =>
    withNew(withMark(volume(`of ${lost}`, [lost, 'd/d', 'e/d']), lost, 'replaced'), 'f/d'),
  );
  volumes.push(volume('of c', ['c/d', 'd/d', 'e/d']));
  const all = cluster(nodes({ a: DOWN, b: DOWN, c: DOWN }), volumes);
  assert.equal(decide(all, 2 * GRACE_MS).changes[0]?.kind, 'replace');
});

test('maintenance holds the replacement, and what is behind when the node is back is rebuilt', () => {
  const away = { a: { ...DOWN, service: 'maintenance' } } as const;
  const members = ['b/d', 'c/d'].map((id) => replica(id));
  const replicas = [replica('a/d', { state: 'stale' }), ...members];
  const wanted = volume('v', [], { replicas });
  assert.deepEqual(decide(cluster(nodes(away), [wanted]), GRACE_MS).held, [
    { volume: 'v', drive: 'a/d', hold: { kind: 'maintenance' } },
  ]);
  assert.deepEqual(decide(cluster(nodes(), [wanted]), GRACE_MS).rebuilds, [
    { volume: 'v', drive: 'a/d' },
  ]);
});

test('a replaced replica that is back goes on, in place of the one that is being filled', () => {
  const lost = withMark(volume('v', ['a/d', 'b/d', 'c/d']), 'a/d', 'replaced');
  const { changes, rebuilds } = decide(cluster(nodes(), [withNew(lost, 'd/d')]), GRACE_MS);
  assert.deepEqual(changes, [
    { kind: 'readmit', volume: 'v', drive: 'a/d', inPlaceOf: 'd/d' },
    { kind: 'remove', volume: 'v', drive: 'd/d' },
  ]);
  assert.deepEqual(rebuilds, []);
});

test('of a drained node the replica goes when another is synced and heard, not before', () => {
  const draining = nodes({ a: { service: 'draining' } });
  const whole = volume('v', ['a/d', 'b/d', 'c/d']);
  const [change] = decide(cluster(draining, [whole]), 0).changes;
  assert.equal(change?.kind, 'add');
  const filling = withNew(whole, 'd/d');
  assert.deepEqual(decide(cluster(draining, [filling]), 0), {
    changes: [],
    rebuilds: [{ volume: 'v', drive: 'd/d' }],
    held: [],
  });
  const filled = volume('v', ['a/d', 'b/d', 'c/d', 'd/d']);
  const removal = { kind: 'remove', volume: 'v', drive: 'a/d' };
  assert.deepEqual(decide(cluster(draining, [filled]), 0).changes, [removal]);
  const silent = draining.map((each): Node =>
    each.name === 'd' ? { ...each, liveness: { kind: 'unreachable', sinceMs: 0 } } : each,
  );
  assert.deepEqual(decide(cluster(silent, [filled]), 0).changes, []);
});

test('of more replicas than wanted, the one goes that is missed least', () => {
  const beside = { replicaCount: 2, localTo: 'a' };
  const zones = [node('a'), node('b'), node('b-1')];
  const all = volume('v', ['a/d', 'b/d', 'b-1/d'], {
    ...beside,
    spread: { level: 'zone', isHard: false },
  });
  const changes = decide(cluster(zones, [all]), 0).changes.map(({ kind }) => kind);
  assert.deepEqual(changes, ['retire', 'remove']);
  const gone = decide(cluster(zones, [all]), 0).changes[0];
  assert.ok(gone !== undefined && gone.drive.startsWith('b'));
});

test('as many replicas are added as there is a place for', () => {
  const three = [node('a'), node('b'), node('c')];
  const { changes, held } = decide(cluster(three, [volume('v', ['a/d'], { replicaCount: 4 })]), 0);
  assert.equal(changes.length, 2);
  assert.equal(held[0]?.hold.kind, 'no place');
});

test('one budget for the cluster: the most at risk first, and others pause for them', () => {
  const behind = (name: string, copies: number, isRebuilding: boolean) =>
    volume(name, [], {
      replicas: SIX.slice(0, 3).map((each, index) =>
        replica(`${each}/d`, index < copies ? {} : { state: 'stale', isRebuilding }),
      ),
    });
  const volumes = [behind('two', 2, true), behind('also two', 2, false), behind('one', 1, false)];
  const { rebuilds, held } = decide(cluster(nodes(), volumes), 0, 2);
  assert.deepEqual(
    rebuilds.map(({ volume: name }) => name),
    ['one', 'one'],
  );
  assert.deepEqual(
    held.map(({ volume: name, hold }) => `${name} ${hold.kind}`),
    ['two budget', 'also two budget'],
  );
});
