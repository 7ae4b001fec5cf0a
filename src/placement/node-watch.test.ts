import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Liveness } from './model.ts';
import { HEARTBEAT_EVERY_MS, type LivenessChange, NodeWatch } from './node-watch.ts';

const UP: Liveness = { kind: 'up' };

function watchOf(...names: string[]): NodeWatch {
  return new NodeWatch(0, new Map(names.map((name) => [name, UP])));
}

/** Ticks, and hears those of `heard`, from one time to another. */
function run(watch: NodeWatch, [from, to]: [number, number], heard: string[]): LivenessChange[] {
  const changes: LivenessChange[] = [];
  for (let ms = from + HEARTBEAT_EVERY_MS; ms <= to; ms += HEARTBEAT_EVERY_MS) {
    for (const name of heard) changes.push(...watch.hear(name, ms));
    changes.push(...watch.tick(ms));
  }
  return changes;
}

test('a silent node is unreachable after 1.5 s and down after 3, one that is heard stays up', () => {
  assert.deepEqual(run(watchOf('a', 'b'), [0, 5000], ['b']), [
    { node: 'a', liveness: { kind: 'unreachable', sinceMs: 1500 } },
    { node: 'a', liveness: { kind: 'down', sinceMs: 3000 } },
  ]);
});

test('nodes that vanish within a second are all unreachable before the first is down', () => {
  const watch = watchOf('a', 'b');
  run(watch, [0, 10_000], ['a', 'b']);
  const changes = [...run(watch, [10_000, 11_000], ['b']), ...run(watch, [11_000, 16_000], [])];
  assert.deepEqual(
    changes.map(({ node, liveness }) => `${node} ${liveness.kind}`),
    ['a unreachable', 'b unreachable', 'a down', 'b down'],
  );
});

test('a node is up as soon as it is heard', () => {
  const watch = watchOf('a');
  run(watch, [0, 5000], []);
  assert.deepEqual(watch.hear('a', 5100), [{ node: 'a', liveness: UP }]);
  assert.deepEqual(run(watch, [5100, 6100], ['a']), []);
});

test('a node that was not known is from its first heartbeat on; one taken out is judged no more', () => {
  const watch = watchOf();
  assert.deepEqual(watch.hear('a', 0), [{ node: 'a', liveness: UP }]);
  watch.forget('a');
  assert.deepEqual(run(watch, [0, 10_000], []), []);
});

test('a watcher that stood still itself calls nobody down for it', () => {
  const watch = watchOf('a', 'b');
  run(watch, [0, 5000], ['a', 'b']);
  assert.deepEqual(watch.tick(65_000), []);
  assert.deepEqual(run(watch, [65_000, 67_500], ['a']), [
    { node: 'b', liveness: { kind: 'unreachable', sinceMs: 66_500 } },
  ]);
});

test('after a restart what was down is down since then, and what was up has its time', () => {
  const known = new Map<string, Liveness>([
    ['a', { kind: 'down', sinceMs: -5000 }],
    ['b', UP],
  ]);
  const changes = run(new NodeWatch(0, known), [0, 4000], []);
  assert.deepEqual(
    changes.map(({ node, liveness }) => `${node} ${liveness.kind}`),
    ['b unreachable', 'b down'],
  );
});
