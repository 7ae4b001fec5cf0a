/** All histories with one fault; `npm run sim:replication:exhaustive` runs those with more. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Choices } from './choices.ts';
import { explore } from './explore.ts';
import { StateSet } from './state-set.ts';

const NONE = { crashes: 0, partitions: 0, takeovers: 0, late: 0 };

for (const fault of ['crashes', 'partitions', 'takeovers', 'late'] as const) {
  test(`a small volume keeps its promises wherever one comes: ${fault}`, async (context) => {
    const scope = { ...NONE, [fault]: 1 };
    const { histories, known, states, ends, failure } = await explore(scope);
    context.diagnostic(
      `${histories} histories, ${known} to one of ${states} states, ${ends.size} ends`,
    );
    assert.equal(failure, undefined);
    assert.ok(histories > 40, 'it comes at many places');
    assert.ok(known * 8 > histories, 'many come to the same');

    const whole = await explore(scope, { isWhole: true });
    assert.equal(whole.failure, undefined);
    assert.deepEqual(ends, whole.ends, 'nothing is missed');
  });
}

test('a state is known once it was added, however many there are', () => {
  const known = new StateSet();
  const states = Array.from({ length: 5000 }, (_, index) => index * 7919);
  assert.ok(states.every((state) => known.add(state)));
  assert.ok(states.every((state) => !known.add(state)));
  assert.equal(known.size, 5000);
});

test('choices are tried in all their forms, and go on where they were', () => {
  const tried: string[] = [];
  const places: number[] = [];
  const run = (choices: Choices): string =>
    choices.choose(2) === 0 ? `0${choices.choose(3)}` : `1${choices.choose(2)}`;
  let choices = new Choices();
  do {
    tried.push(run(choices));
    places.push(choices.firstChosen);
    choices = Choices.parse(choices.toString());
  } while (choices.advance());
  assert.deepEqual(tried, ['00', '01', '02', '10', '11']);
  assert.deepEqual(places, [-1, 1, 1, 0, 0]);
});
