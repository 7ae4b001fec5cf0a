import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cluster, drive, node, replica, volume } from '../../sim/placement/build.ts';
import { GIB } from '../../sim/placement/random-cluster.ts';
import {
  countsOf,
  explainPlacement,
  type Explanation,
  place,
  type Placement,
  rankOf,
  type Verdict,
} from './place.ts';

const NINE = ['a', 'b', 'c'].flatMap((zone) =>
  ['1', '2', '3'].map((rack) => node(`${zone}-${rack}`)),
);

function drivesOf(placement: Placement): readonly string[] {
  assert.equal(placement.kind, 'placed');
  return placement.drives;
}

function verdictOn({ candidates }: Explanation, id: string): Verdict {
  const found = candidates.find((candidate) => candidate.drive === id);
  assert.ok(found !== undefined);
  return found.verdict;
}

test('a hard spread over zones takes one of each', () => {
  const wanted = volume('v', [], { spread: { level: 'zone', isHard: true } });
  const zones = drivesOf(place(cluster(NINE), wanted)).map((id) => id.charAt(0));
  assert.deepEqual(new Set(zones), new Set(['a', 'b', 'c']));
});

test('a soft spread over zones shares a zone before it refuses, and a rack before a node', () => {
  const nodes = [node('a-1-x'), node('a-1-y'), node('a-2'), node('b-1')];
  const wanted = volume('v', [], { spread: { level: 'zone', isHard: false } });
  const chosen = drivesOf(place(cluster(nodes), wanted));
  assert.ok(chosen.includes('a-2/d') && chosen.includes('b-1/d'));
  assert.ok(chosen.some((id) => id.startsWith('a-1')));
});

test('what is there stays: only what lacks is placed', () => {
  const wanted = volume('v', ['a-1/d', 'b-1/d']);
  assert.equal(drivesOf(place(cluster(NINE, [wanted]), wanted)).length, 1);
  const whole = volume('v', ['a-1/d', 'b-1/d', 'c-1/d']);
  assert.deepEqual(drivesOf(place(cluster(NINE, [whole]), whole)), []);
});

test('the replica that was replaced frees its domain, the one that is missing does not', () => {
  const nodes = [node('a', { liveness: { kind: 'down', sinceMs: 0 } }), node('b'), node('c')];
  const drives = ['a/d', 'b/d', 'c/d', 'a2/d'];
  const zones = { spread: { level: 'zone', isHard: true } } as const;
  const all = cluster([...nodes, node('a2', { zone: 'a' })]);
  const [lost = '', ...others] = drives.slice(0, 3);
  const kept = others.map((id) => replica(id));
  const missing = volume('v', [], { ...zones, replicas: [replica(lost), ...kept] });
  assert.deepEqual(drivesOf(place(all, missing)), []);
  const leaving = [replica(lost, { leaving: 'replaced' }), ...kept];
  assert.deepEqual(drivesOf(place(all, volume('v', [], { ...zones, replicas: leaving }))), [
    'a2/d',
  ]);
});

test('one replica is beside the consumer, unless a constraint keeps it off', () => {
  const wanted = volume('v', [], { localTo: 'b-2' });
  const placement = place(cluster(NINE), wanted);
  assert.equal(drivesOf(placement)[0], 'b-2/d');
  const cordoned = NINE.map((each) =>
    each.name === 'b-2' ? node('b-2', { service: 'cordoned' }) : each,
  );
  const elsewhere = explainPlacement(cluster(cordoned), wanted);
  assert.equal(drivesOf(elsewhere.placement).includes('b-2/d'), false);
  assert.deepEqual(verdictOn(elsewhere, 'b-2/d'), {
    kind: 'refused',
    hindrance: { constraint: 'service', of: 'node', state: 'cordoned' },
  });
});

test('replicas stay in one region, where one has room for all', () => {
  const near = ['a', 'b', 'c'].map((zone) => node(zone, { region: 'near' }));
  const far = ['a', 'b'].map((zone) => node(`far ${zone}`, { region: 'far', zone }));
  const wanted = volume('v', [], { spread: { level: 'zone', isHard: true } });
  const both = cluster([...far, ...near]);
  assert.deepEqual(drivesOf(place(both, wanted)).toSorted(), ['a/d', 'b/d', 'c/d']);
  assert.equal(drivesOf(place(both, { ...wanted, replicaCount: 5 })).length, 5);
});

test('a node without a label of its rack shares one with the others of its zone that have none', () => {
  const nodes = [node('a', { name: 'x' }), node('a', { name: 'y' }), node('a-1')];
  const wanted = volume('v', [], { spread: { level: 'rack', isHard: true } });
  const { noPlace } = explainPlacement(cluster(nodes), wanted);
  assert.equal(noPlace?.constraint, 'spread');
  assert.equal(noPlace.left[0]?.places, 2);
});

test('the emptier and idler drive is preferred, and the explanation says by what', () => {
  const nodes = ['a', 'b', 'c'].map((name) => node(name));
  const drives = [
    drive('a/d', { promisedBytes: 500 * GIB, writtenBytes: 500 * GIB }),
    drive('b/d', { load: 0.9 }),
    drive('c/d', { load: 0.3 }),
  ];
  const wanted = volume('v', [], { replicaCount: 1 });
  const explanation = explainPlacement(cluster(nodes).with({ drives }), wanted);
  assert.deepEqual(drivesOf(explanation.placement), ['c/d']);
  const verdict = verdictOn(explanation, 'a/d');
  assert.equal(verdict.kind === 'ranked' && verdict.behindBy, 'pressure');
});

test('volumes fill drives by their capacity', () => {
  const nodes = ['a', 'b', 'c', 'd'].map((name) => node(name));
  const drives = nodes.map(({ name }, index) =>
    drive(`${name}/d`, { capacityBytes: (index + 1) * 1000 * GIB }),
  );
  const filled = cluster(nodes).with({ drives });
  for (let index = 0; index < 200; index++) {
    const wanted = volume(`v${index}`, [], { replicaCount: 1 });
    filled.put({ ...wanted, replicas: drivesOf(place(filled, wanted)).map((id) => replica(id)) });
  }
  const shares = filled.drives().map((each) => each.promisedBytes / each.capacityBytes);
  assert.ok(Math.max(...shares) - Math.min(...shares) < 0.03, shares.join(' '));
});

test('an empty node that is new does not get every rebuild at once', () => {
  const nodes = Array.from({ length: 10 }, (_, index) => node(`n${index}`));
  const drives = nodes.map(({ name }) =>
    drive(`${name}/d`, name === 'n0' ? {} : { promisedBytes: 200 * GIB, writtenBytes: 200 * GIB }),
  );
  const growing = cluster(nodes).with({ drives });
  const targets: string[] = [];
  for (let index = 0; index < 50; index++) {
    const wanted = volume(`v${index}`, [], { replicaCount: 1 });
    const [id = ''] = drivesOf(place(growing, wanted));
    targets.push(id);
    growing.put({ ...wanted, replicas: [replica(id, { state: 'new' })] });
  }
  assert.ok(targets.filter((id) => id === 'n0/d').length <= 10);
});

test('a refusal names the constraint, what it leaves, and each thing that would be enough', () => {
  const nodes = [node('a'), node('b'), node('c', { service: 'cordoned' })];
  const wanted = volume('v', [], { spread: { level: 'zone', isHard: true } });
  const { placement, noPlace } = explainPlacement(cluster(nodes), wanted);
  assert.equal(placement.kind, 'refused');
  assert.equal(placement.drives.length, 2);
  assert.deepEqual(noPlace, {
    lacking: 3,
    found: 2,
    constraint: 'service',
    left: [
      { constraint: 'spread', places: 3 },
      { constraint: 'holds', places: 3 },
      { constraint: 'liveness', places: 3 },
      { constraint: 'service', places: 2 },
      { constraint: 'tags', places: 2 },
      { constraint: 'promised', places: 2 },
      { constraint: 'space', places: 2 },
    ],
    helps: [
      { kind: 'lift', constraint: 'service', drives: ['c/d'] },
      { kind: 'fewer replicas', replicaCount: 2 },
      {
        kind: 'add drives',
        count: 1,
        sizeBytes: 10 * GIB,
        tags: [],
        apart: { level: 'zone', from: ['a', 'b'] },
      },
    ],
  });
});

test('the same question has the same answer, in whatever order the cluster is told', () => {
  const wanted = volume('v', []);
  const turned = cluster(NINE.toReversed());
  assert.deepEqual(place(turned, wanted), place(cluster(NINE), wanted));
});

test('ranks tell how many replicas are near', () => {
  const mates = ['a-1', 'a-2', 'b-1'].map((name) =>
    volume(`of ${name}`, [`${name}/d`], { replicaCount: 1, group: 'g' }),
  );
  const wanted = volume('v', ['a-3/d'], {
    group: 'g',
    spread: { level: 'rack', isHard: false },
  });
  const rank = rankOf(cluster(NINE, mates), wanted, 'a-1/d');
  assert.ok(rank !== undefined);
  assert.deepEqual(countsOf(wanted, rank), {
    spread: [
      ['rack', 0],
      ['node', 0],
    ],
    group: [
      ['rack', 1],
      ['zone', 3],
      ['node', 1],
    ],
  });
});
