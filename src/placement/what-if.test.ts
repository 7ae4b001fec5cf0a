import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cluster, node, replica, volume } from '../../sim/placement/build.ts';
import { whatIf } from './what-if.ts';

const ZONES = { spread: { level: 'zone', isHard: true } } as const;
const nodes = ['a-1', 'b-1', 'c-1', 'c-2', 'd-1', 'e-1', 'f-1'].map((name) => node(name));

test('the loss of a node stops what is below its minimum, and the rest is rebuilt elsewhere', () => {
  const all = cluster(nodes, [
    volume('alone', ['a-1/d'], { replicaCount: 1, minimum: 1, localTo: 'a-1' }),
    volume('behind', [], {
      replicas: [replica('a-1/d'), replica('b-1/d', { state: 'stale' }), replica('c-1/d')],
    }),
    volume('whole', ['a-1/d', 'b-1/d', 'c-1/d']),
    volume('elsewhere', ['b-1/d', 'c-1/d', 'd-1/d']),
  ]);
  const effects = whatIf(all, { kind: 'lose', level: 'node', domain: 'a-1' });
  assert.deepEqual(
    effects.map(({ volume: name, outcome, copiesNow, copiesThen }) => [
      name,
      outcome,
      copiesNow,
      copiesThen,
    ]),
    [
      ['alone', 'stops', 1, 0],
      ['behind', 'stops', 2, 1],
      ['whole', 'loses redundancy', 3, 2],
    ],
  );
  const [alone, behind, whole] = effects;
  assert.deepEqual(alone?.held, { kind: 'no copy' });
  assert.equal(alone.losesConsumer, true);
  assert.equal(behind?.newDrives.length, 1);
  assert.equal(whole?.newDrives.length, 1);
  assert.deepEqual(whole.drives, ['a-1/d']);
  assert.equal(whole.held, undefined);
});

test('the loss of a zone says so where nothing would be replaced, and why', () => {
  const three = nodes.slice(0, 4);
  const all = cluster(three, [volume('v', ['a-1/d', 'b-1/d', 'c-1/d'], ZONES)]);
  const [one] = whatIf(all, { kind: 'lose', level: 'zone', domain: 'b' });
  assert.equal(one?.outcome, 'loses redundancy');
  assert.equal(one.held?.kind, 'no place');
  const [more] = whatIf(all, { kind: 'lose', level: 'zone', domain: 'c' });
  assert.deepEqual(more?.held, { kind: 'nodes away', away: 2, of: 4 });
});

test('a drain moves what has another place, and names what would have to stay', () => {
  const three = nodes.slice(0, 4);
  const all = cluster(three, [
    volume('movable', ['a-1/d', 'b-1/d', 'c-1/d']),
    volume('bound', ['a-1/d', 'b-1/d', 'c-1/d'], ZONES),
  ]);
  const effects = whatIf(all, { kind: 'drain', level: 'node', domain: 'a-1' });
  assert.deepEqual(
    effects.map(({ volume: name, outcome, newDrives }) => [name, outcome, newDrives]),
    [
      ['bound', 'loses redundancy', []],
      ['movable', 'moves', ['c-2/d']],
    ],
  );
  assert.equal(effects[0]?.held?.kind, 'no place');
});
