import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ProcessWatch } from '../env/node/process-watch.ts';
import { Histogram } from '../lib/histogram.ts';
import type { VolumeRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { METRIC_FAMILIES } from './metric-families.ts';
import { Metrics } from './metrics.ts';

const uuidOf = (index: number): string => `id-${String(index).padStart(6, '0')}`;

function volumeOf(index: number): VolumeRecord {
  return {
    name: `v${String(index).padStart(6, '0')}`,
    id: uuidOf(index),
    drive: 'd',
    sizeBytes: 4096,
    state: 'ready',
    createdAtMs: 0,
    epoch: 1,
    attachment: undefined,
    mount: undefined,
    resizeToBytes: undefined,
  };
}

/** What an engine answers of `count` volumes, all of them with I/O; a page of 24 at a time. */
function engineOf(count: number): {
  readonly call: (name: string, args: JsonObject) => Promise<JsonObject>;
} {
  const latency = new Histogram();
  for (let us = 1; us < 1e7; us *= 3) latency.add(us);
  const counts = { ...latency.durations(), bytes: 1, errors: 0 };
  return {
    call: async (name, args) => {
      if (name !== 'volume.list' && name !== 'volume.meters') return { drives: [], io: {} };
      const first = args['after'] === undefined ? 0 : Number(String(args['after']).slice(3)) + 1;
      const page = Array.from({ length: Math.min(24, count - first) }, (_, at) => ({
        uuid: uuidOf(first + at),
        allocatedBytes: 0,
        inFlight: 1,
        read: counts,
        write: counts,
        flush: counts,
      }));
      const field = name === 'volume.list' ? 'volumes' : 'meters';
      return { [field]: page, more: first + page.length < count };
    },
  };
}

function metricsOf(count: number, engine: object): Metrics {
  const records = {
    volumes: async () => Array.from({ length: count }, (_, index) => volumeOf(index)),
    drives: async () => [],
    operations: async () => [],
    trash: async () => [],
  };
  const parts = {
    installation: { runDirectory: '/nowhere' },
    records,
    engine,
    attacher: { call: () => Promise.reject(new Error('away')) },
  };
  const watch = new ProcessWatch(() => undefined);
  return new Metrics(parts as unknown as ConstructorParameters<typeof Metrics>[0], {
    version: '1',
    watch,
  });
}

test('1,000 volumes with I/O are scraped, all of them', async () => {
  const startMs = performance.now();
  const { text } = await metricsOf(1000, engineOf(1000)).read();
  const tookMs = performance.now() - startMs;
  const buckets = text.match(/^holdfast_volume_operation_duration_seconds_bucket/gm);
  assert.equal(buckets?.length, 1000 * 3 * 10);
  assert.match(text, /^holdfast_volumes_without_series 0$/m);
  assert.ok(tookMs < 20_000, `a hang: ${tookMs} ms`);
});

test('the number of series is bounded, and what has none is counted', async () => {
  const { text } = await metricsOf(2500, engineOf(0)).read();
  assert.equal(text.match(/^holdfast_volume_info/gm)?.length, 2000);
  assert.match(text, /^holdfast_volumes 2500$/m);
  assert.match(text, /^holdfast_volumes_without_series 500$/m);
});

test('while the engine is away the scrape says so, and has what control knows', async () => {
  const away = { call: () => Promise.reject(new Error('away')) };
  const { text, contentType } = await metricsOf(1, away).read();
  assert.match(contentType, /^text\/plain; version=0\.0\.4/);
  assert.match(text, /^holdfast_process_up\{process="engine"\} 0$/m);
  assert.match(text, /^holdfast_process_up\{process="control"\} 1$/m);
  assert.match(text, /^holdfast_volume_size_bytes\{volume="v000000"\} 4096$/m);
  assert.doesNotMatch(text, /holdfast_volume_allocated_bytes\{/);
});

test('scrapes at the same time share one look, and the next looks anew', async () => {
  let calls = 0;
  const engine = engineOf(1);
  const counting = {
    call: (name: string, args: JsonObject) => {
      if (name === 'stats') calls++;
      return engine.call(name, args);
    },
  };
  const metrics = metricsOf(1, counting);
  const [one, other] = await Promise.all([metrics.read(), metrics.read()]);
  assert.equal(one.text, other.text);
  assert.equal(calls, 1);
  await metrics.read();
  assert.equal(calls, 2);
});

test('buckets are cumulative, and the last has all', async () => {
  const { text } = await metricsOf(1, engineOf(1)).read();
  const values = [
    ...text.matchAll(
      /_duration_seconds_bucket\{volume="v000000",operation="read",le="([^"]+)"\} (\d+)/g,
    ),
  ].map(([, le, value]) => [le === '+Inf' ? Infinity : Number(le), Number(value)] as const);
  assert.equal(values.length, 10);
  for (const [at, [le, value]] of values.entries()) {
    const [leBefore, before] = values[at - 1] ?? [0, 0];
    assert.ok(le > leBefore && value >= before, String(le));
  }
  // 1, 3, 9 and 27 µs are below 32 µs; 15 durations in all.
  assert.deepEqual([values[0], values.at(-1)?.[1]], [[32e-6, 4], 15]);
});

test('names and types keep to the conventions', () => {
  const names = METRIC_FAMILIES.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, type, help } of METRIC_FAMILIES) {
    assert.match(name, /^holdfast_[a-z_]+$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    if (type === 'histogram') assert.match(name, /_seconds$/);
    assert.match(help, /^[A-Z].*[^.]$/, name);
  }
});
