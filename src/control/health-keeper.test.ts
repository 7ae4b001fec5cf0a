import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SqliteStore } from '../metadata/sqlite-store.ts';
import type { EventRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { HealthKeeper } from './health-keeper.ts';
import { RecordsStore } from './records-store.ts';

const MINUTE_MS = 60_000;

/** A keeper over records in memory, with an engine that answers what the test says. */
class Scene {
  nowMs = 1000;
  pid = 10;
  isAway = false;
  drive: JsonObject = { driveId: 'id-d', state: 'open', freeBytes: 1e12, badBlocks: [] };
  readonly records: RecordsStore;
  readonly #store: SqliteStore;
  #nextId = 1;

  private constructor() {
    const options = { path: ':memory:', bootMs: () => 0, bootId: 'boot', randomId: () => '' };
    this.#store = new SqliteStore(options);
    this.records = new RecordsStore(this.#store, '/');
  }

  static async open(): Promise<Scene> {
    const scene = new Scene();
    const drive = { name: 'd', id: 'id-d', path: '/d.img', state: 'ready' };
    const volume = { name: 'db', id: 'id-db', drive: 'd', state: 'ready' };
    const puts = [
      { key: 'drive/d', record: drive },
      { key: 'volume/db', record: volume },
    ];
    await scene.records.change({ puts });
    return scene;
  }

  #id(): string {
    return `id-${this.#nextId++}`;
  }

  /** `node`: of whose control; undefined on a single machine. */
  keeper(node?: string): HealthKeeper {
    const call = async (name: string): Promise<JsonObject> => {
      if (this.isAway) throw new Error('it is silent');
      return name === 'hello' ? { pid: this.pid } : { drives: [this.drive] };
    };
    const parts = {
      records: this.records,
      log: () => undefined,
      newId: () => this.#id(),
      // Events of one moment have no order.
      wallMs: () => (this.nowMs += 1),
      engine: { call },
      attacher: { call: async () => ({ pid: 1 }) },
      installation: { runDirectory: '/nowhere' },
      node,
    };
    return new HealthKeeper(parts as unknown as ConstructorParameters<typeof HealthKeeper>[0]);
  }

  bad(checksumErrors: number): void {
    const of = { of: 'id-db', checksumErrors, readErrors: 0, offsetBytes: 4096 };
    this.drive = { ...this.drive, badBlocks: [of] };
  }

  /** The newest last. */
  async told(): Promise<EventRecord[]> {
    const events = await this.records.events();
    return events.toReversed();
  }

  async kinds(): Promise<(string | undefined)[]> {
    return (await this.told()).map(({ kind }) => kind);
  }

  async pass(keeper: HealthKeeper, ms: number): Promise<void> {
    this.nowMs += ms;
    await keeper.look();
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

test('bad blocks of a volume are told at once, then once a minute with what is new', async () => {
  const scene = await Scene.open();
  const keeper = scene.keeper();
  await keeper.look();
  scene.bad(1);
  await scene.pass(keeper, 2000);
  scene.bad(5);
  await scene.pass(keeper, 2000);
  await scene.pass(keeper, 2000);
  assert.deepEqual(await scene.kinds(), ['drive.checksum_error']);
  await scene.pass(keeper, MINUTE_MS);
  const [first, second, ...rest] = await scene.told();
  assert.deepEqual(rest, []);
  assert.match(first?.what ?? '', /"db" met a block /);
  assert.match(second?.what ?? '', /"db" met 4 blocks /);
  await scene.pass(keeper, MINUTE_MS);
  assert.equal((await scene.told()).length, 2, 'nothing is new');
  await scene.close();
});

test('another engine counts from zero, and is told of', async () => {
  const scene = await Scene.open();
  const keeper = scene.keeper();
  scene.bad(3);
  await keeper.look();
  scene.pid = 11;
  scene.bad(2);
  await scene.pass(keeper, 2000);
  const kinds = ['drive.checksum_error', 'engine.restarted', 'drive.checksum_error'];
  assert.deepEqual(await scene.kinds(), kinds);
  assert.match((await scene.told()).at(-1)?.what ?? '', /met 2 blocks/);
  await scene.close();
});

test('what begins is told once, also by the next control, and what ends once', async () => {
  const scene = await Scene.open();
  const keeper = scene.keeper();
  await keeper.look();
  scene.drive = { ...scene.drive, state: 'faulted', reason: 'EIO' };
  await scene.pass(keeper, 2000);
  await scene.pass(keeper, 2000);
  const next = scene.keeper();
  await scene.pass(next, 2000);
  assert.deepEqual(await scene.kinds(), ['drive.faulted']);
  scene.drive = { ...scene.drive, state: 'open' };
  await scene.pass(next, 2000);
  await scene.pass(next, 2000);
  assert.deepEqual(await scene.kinds(), ['drive.faulted', 'drive.recovered']);
  await scene.close();
});

test('while the engine is away nobody knows how its drives are', async () => {
  const scene = await Scene.open();
  const keeper = scene.keeper();
  scene.drive = { ...scene.drive, state: 'faulted' };
  await keeper.look();
  scene.isAway = true;
  await scene.pass(keeper, 2000);
  scene.isAway = false;
  await scene.pass(keeper, 2000);
  assert.deepEqual(await scene.kinds(), ['drive.faulted', 'engine.away', 'engine.back']);
  assert.equal((await scene.told())[1]?.cause, 'it is silent');
  await scene.close();
});

test('a faulted drive that is removed has not recovered', async () => {
  const scene = await Scene.open();
  const keeper = scene.keeper();
  scene.drive = { ...scene.drive, state: 'faulted' };
  await keeper.look();
  await scene.records.change({ deletes: ['drive/d'] });
  await scene.pass(keeper, 2000);
  assert.deepEqual(await scene.kinds(), ['drive.faulted']);
  await scene.close();
});

test('what another node tells of its engine begins and ends nothing here', async () => {
  const scene = await Scene.open();
  const theirs = scene.keeper('b');
  await theirs.look();
  scene.isAway = true;
  await scene.pass(theirs, 2000);
  scene.isAway = false;
  await scene.pass(scene.keeper('a'), 2000);
  const told = await scene.told();
  assert.deepEqual(
    told.map(({ kind, node }) => [kind, node]),
    [['engine.away', 'b']],
  );
  await scene.pass(theirs, 2000);
  assert.deepEqual(await scene.kinds(), ['engine.away', 'engine.back']);
  await scene.close();
});
