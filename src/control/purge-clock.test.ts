import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { drivePartsOf, memoryRecords } from '../../test/rigs/memory-records.ts';
import { PurgeClock, isOver } from './purge-clock.ts';
import { Trash } from './trash.ts';
import type { VolumeData } from './volume-data.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
const START_MS = 1_800_000_000_000;

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-purge-'));
after(() => fs.rmSync(top, { recursive: true }));

/** A machine whose clocks go as the test says, and something that is to be kept for a day from now on. */
class Machine {
  bootMs = 1000;
  wallMs = START_MS;
  bootId = 'boot-1';
  readonly folder = fs.mkdtempSync(path.join(top, 'm-'));
  readonly #file = path.join(this.folder, 'purge-clock.json');
  clock: PurgeClock = this.start();

  /** Control starts anew. */
  start(): PurgeClock {
    const { bootId } = this;
    const clocks = { wallMs: () => this.wallMs, bootMs: () => this.bootMs };
    this.clock = new PurgeClock({ file: this.#file, bootId, ...clocks });
    this.clock.look();
    return this.clock;
  }

  /** Time passes, and control looks every minute. */
  pass(ms: number): void {
    for (let leftMs = ms; leftMs > 0; leftMs -= MINUTE_MS) {
      this.bootMs += Math.min(leftMs, MINUTE_MS);
      this.wallMs += Math.min(leftMs, MINUTE_MS);
      this.clock.look();
    }
  }

  of(fromMs: number): string {
    return isOver({ fromMs, untilMs: fromMs + DAY_MS }, this.clock.look());
  }
}

test('without a step of the clock a day is over after a day', () => {
  const machine = new Machine();
  machine.pass(DAY_MS - MINUTE_MS);
  assert.equal(machine.of(START_MS), 'kept');
  machine.pass(MINUTE_MS);
  assert.equal(machine.of(START_MS), 'over');
});

test('a clock that is set forward ends nothing early, also where control starts anew after it', () => {
  const machine = new Machine();
  machine.pass(MINUTE_MS);
  machine.wallMs += 3 * DAY_MS;
  assert.equal(machine.of(START_MS), 'held');
  machine.start();
  machine.pass(DAY_MS - 2 * MINUTE_MS);
  assert.equal(machine.of(START_MS), 'held');
  machine.pass(MINUTE_MS);
  assert.equal(machine.of(START_MS), 'over');
});

test('a clock that is set forward while control is away ends nothing early', () => {
  const machine = new Machine();
  machine.wallMs += 3 * DAY_MS;
  machine.start();
  assert.equal(machine.of(START_MS), 'held');
});

test('what is removed after the step is kept for its day, and so is what was by a clock that is put right by years', () => {
  const machine = new Machine();
  machine.pass(MINUTE_MS);
  machine.wallMs += 10_000 * DAY_MS;
  const removedMs = machine.wallMs + MINUTE_MS;
  machine.pass(MINUTE_MS);
  machine.pass(DAY_MS - MINUTE_MS);
  assert.deepEqual([machine.of(START_MS), machine.of(removedMs)], ['over', 'kept']);
  machine.pass(MINUTE_MS);
  assert.equal(machine.of(removedMs), 'over');
});

test('small steps of NTP keep nothing for good that a large one holds', () => {
  const machine = new Machine();
  machine.wallMs += 10_000 * DAY_MS;
  for (let hour = 0; hour < 24; hour++) {
    assert.equal(machine.of(START_MS), 'held');
    machine.pass(60 * MINUTE_MS);
    machine.wallMs += 5000;
  }
  assert.equal(machine.of(START_MS), 'over');
});

test('a clock that is set back keeps longer, and one that was wrong and is put right ends nothing early', () => {
  const machine = new Machine();
  machine.wallMs -= DAY_MS;
  machine.pass(DAY_MS);
  assert.equal(machine.of(START_MS), 'kept');
  machine.wallMs += DAY_MS;
  assert.equal(machine.of(START_MS), 'held');
  machine.pass(DAY_MS);
  assert.equal(machine.of(START_MS), 'over');
});

test('a new boot begins by believing the clock', () => {
  const machine = new Machine();
  machine.wallMs += DAY_MS;
  assert.equal(machine.of(START_MS), 'held');
  Object.assign(machine, { bootId: 'boot-2', bootMs: 10 });
  machine.start();
  assert.equal(machine.of(START_MS), 'over');
});

test('the trash keeps what a step of the clock would purge, and says so once', async () => {
  const machine = new Machine();
  const { store, records } = memoryRecords();
  const removed: string[] = [];
  const parts = drivePartsOf(top, records, async () => ({}));
  const data: Partial<VolumeData> = { remove: async ({ name }) => void removed.push(name) };
  const trash = new Trash(parts, () => data as VolumeData);
  const volume = { name: 'db', id: 'id-db', drive: 'd', state: 'ready' };
  const times = { removedAtMs: START_MS, purgeAtMs: START_MS + DAY_MS };
  await records.change({
    puts: [{ key: 'trash/id-db', record: { volume, state: 'kept', ...times } }],
  });
  machine.wallMs += 2 * DAY_MS;
  await trash.purgeExpired(machine.clock.look());
  await trash.purgeExpired(machine.clock.look());
  assert.deepEqual(removed, []);
  const told = (await records.events()).filter(({ kind }) => kind === 'trash.held');
  assert.equal(told.length, 1);
  assert.match(told[0]?.cause ?? '', /set forward by 2 d\. holdfast trash empty/);
  machine.pass(DAY_MS);
  await trash.purgeExpired(machine.clock.look());
  assert.deepEqual(removed, ['db']);
  await store.close();
});

test('a step that could not be kept is kept by a later look', () => {
  const machine = new Machine();
  fs.renameSync(machine.folder, `${machine.folder}-away`);
  machine.wallMs += 2 * DAY_MS;
  assert.equal(machine.of(START_MS), 'held');
  fs.renameSync(`${machine.folder}-away`, machine.folder);
  machine.pass(MINUTE_MS);
  machine.start();
  assert.equal(machine.of(START_MS), 'held');
});
