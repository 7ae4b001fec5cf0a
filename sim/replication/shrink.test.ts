/** A failing seed becomes a scenario that people can read, and that fails again. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { History } from './history.ts';
import { type Scenario, formatScenario, isFault, isRequest, parseScenario } from './scenario.ts';
import { shrink } from './shrink.ts';
import { SimMedia } from './sim-media.ts';

const trace = async (newHistory: (onTrace: (line: string) => void) => History) => {
  const lines: string[] = [];
  const history = newHistory((line) => lines.push(line));
  const failure = await history.run();
  return { lines, failure, scenario: history.scenario };
};

test('the scenario of a seed is the same history', async () => {
  for (const seed of [4, 5]) {
    const drawn = await trace((onTrace) => History.ofSeed(seed, { requestCount: 300, onTrace }));
    assert.equal(drawn.failure, undefined);
    const { scenario } = drawn;
    const file = formatScenario(scenario, '');
    const read = await trace((onTrace) => History.ofScenario(parseScenario(file), { onTrace }));
    assert.deepEqual(read.lines, drawn.lines);
    assert.deepEqual(read.scenario, scenario);
  }
});

test('drives that lose their marks with the power: what is left of the seed is the loss, and what it loses', async (context) => {
  context.mock.method(SimMedia.prototype, 'losePower', function lose(this: SimMedia) {
    this.taken.marks.clear();
    this.durable.copyFrom(this.taken);
    this.life++;
  });
  const { failure, scenario } = await firstFailing();
  const small = await shrink(scenario, failure.rule, 400);
  assert.ok(small !== undefined, 'it fails again');
  const faults = small.steps.filter(isFault);
  const requests = small.steps.filter(isRequest);
  context.diagnostic(`${faults.length} faults, ${requests.length} requests`);
  assert.ok(faults.some(({ name }) => /power/.test(name)));
  assert.ok(faults.length <= 6 && requests.length <= 60, formatScenario(small, failure.message));
  const again = parseScenario(formatScenario(small, failure.message));
  assert.equal((await History.ofScenario(again).run())?.rule, failure.rule);
  context.mock.reset();
  assert.equal(await History.ofScenario(again).run(), undefined, 'it is the drives');
});

test('what is no scenario is refused with the step that is wrong', () => {
  const parse = (steps: unknown) => (): unknown =>
    History.ofScenario(parseScenario(JSON.stringify({ seed: 1, cluster: {}, steps })));
  assert.throws(() => parseScenario('{'), /not JSON/);
  assert.throws(parse(undefined), /has "seed", "cluster" and "steps"/);
  assert.throws(parse([{ kind: 'paint', atUs: 1 }]), /no such step.*paint/);
  assert.throws(
    parse([{ kind: 'fault', atUs: 1, name: 'a flood', draw: 1 }]),
    /no fault "a flood"/,
  );
});

async function firstFailing(): Promise<{
  readonly failure: { readonly rule: string; readonly message: string };
  readonly scenario: Scenario;
}> {
  for (let seed = 19; seed <= 50; seed++) {
    const history = History.ofSeed(seed);
    const failure = await history.run();
    if (failure !== undefined) return { failure, scenario: history.scenario };
  }
  throw new Error('no seed fails');
}
