/**
 * A head on one simulated machine with three drives, each of which holds a replica: the parts of the engine with the real drive stores,
 * over local links. Tests lose drives and processes, and compare what is left.
 */

import assert from 'node:assert/strict';

import { ExtentBuffers } from '../src/engine/replicas/extent-buffers.ts';
import { LocalLink } from '../src/engine/replicas/local-link.ts';
import { MemoryUses } from '../src/engine/memory-uses.ts';
import { ReplicatedVolume } from '../src/engine/replicas/replicated-volume.ts';
import { Replicas } from '../src/engine/replicas/replicas.ts';
import { Arena } from '../src/lib/arena.ts';
import type { BlockTarget } from '../src/model/block-target.ts';
import type { HeadEvent, HeadEnd } from '../src/replication/head-host.ts';
import { type Record, attached, isSame } from '../src/replication/record.ts';
import { DriveStore } from '../src/store/drive-store.ts';
import { formatDrive } from '../src/store/format-drive.ts';
import { SMALL } from './drive-rig.ts';
import { SimMachine, type SimProcess } from './sim-machine.ts';
import { World } from './world.ts';

const MEMORY_PAGES = 1024;
const TICK_US = 25_000;
const STORE_US = 1000;
const EXTENT_BYTES = 65_536;
const BUFFERS = 16;
export const VOLUME_BYTES: number = 2 ** 20;

const LIMITS = {
  cachePages: 64,
  logMemoryBlocks: 64,
  frameBlocksMax: 16,
  firstChunk: 0,
  marksMax: Infinity,
};

/** The replica on the drive of this index: its name is the uuid that the drive knows it by. */
export const replicaOf = (index: number): string => String(index + 1).repeat(32);
const pathOf = (index: number): string => `/sim/drive-${index}.img`;

export class ReplicasRig {
  readonly world: World;
  readonly machine: SimMachine;
  readonly events: HeadEvent[] = [];
  end: HeadEnd | undefined;
  /** What the cluster store has. */
  record: Record;
  arena: Arena;
  memory!: MemoryUses;
  volume!: ReplicatedVolume;
  replicas!: Replicas;
  readonly stores: (DriveStore | undefined)[] = [];
  readonly #driveCount: number;
  #process: SimProcess;
  #target!: BlockTarget;
  #address = 0;
  #start = 0;
  #writers = 0;
  #isServing = false;
  readonly #waiting = new Map<number, (errno: number) => void>();
  #token = 0;

  constructor(seed: number, driveCount = 3) {
    this.world = new World(seed);
    this.machine = new SimMachine(this.world);
    this.#driveCount = driveCount;
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });
    this.arena = new Arena(memory);
    this.#process = this.machine.start(memory);
    this.record = {
      lineage: 1,
      epoch: 1,
      writer: 'f0',
      head: undefined,
      attachment: undefined,
      members: new Map(),
      minimum: 1,
      sizeBytes: VOLUME_BYTES,
    };
  }

  /** Makes the drives with a replica each, and attaches the volume: its head serves when this resolves. */
  async begin(): Promise<void> {
    const { sizeBytes, ...geometry } = SMALL;
    for (let index = 0; index < this.#driveCount; index++) {
      const path = pathOf(index);
      const options = { path, arena: this.arena, sizeBytes, sparse: true, geometry };
      await this.run(formatDrive(this.#process.env, options));
      const store = await this.openDrive(index);
      const uuid = replicaOf(index);
      await this.run(store.createVolume({ uuid, sizeBytes: VOLUME_BYTES, isReplica: true }));
    }
    const members = new Map(
      this.stores.map((store, index) => [replicaOf(index), store?.life ?? 0] as const),
    );
    this.record = attached(
      { ...this.record, members },
      { attachId: 'aa'.repeat(16), boot: 'bb'.repeat(16) },
      'f1',
    );
    await this.serve(true);
  }

  async openDrive(index: number): Promise<DriveStore> {
    const options = { path: pathOf(index), arena: this.arena, limits: LIMITS };
    const store = await this.run(DriveStore.open(this.#process.env, options));
    this.stores[index] = store;
    return store;
  }

  /** Opens the replicas of all open drives, and starts a head. */
  async serve(clientLives: boolean): Promise<void> {
    const { world, arena } = this;
    const { io, env } = this.#process;
    this.memory = new MemoryUses(arena.memory);
    const { memory } = this;
    const buffers = new ExtentBuffers(arena, BUFFERS, memory);
    const now = (): number => env.clock.bootMs();
    const defer = (step: () => void): void => {
      world.schedule(0, () => this.inTurn(step));
    };
    this.replicas = new Replicas({
      now,
      buffers,
      yieldTurn: () => io.yieldTurn(),
      peers: undefined,
    });
    for (const [index, store] of this.stores.entries()) {
      if (store !== undefined) this.replicas.open(replicaOf(index), store);
    }
    this.#isServing = false;
    const start = ++this.#start;
    const volume: ReplicatedVolume = new ReplicatedVolume({
      id: { engine: 'ee'.repeat(16), start, attempt: 1 },
      record: this.record,
      local: replicaOf(0),
      clientLives,
      stallLimitMs: 600_000,
      buffers,
      memory,
      replicas: this.replicas,
      host: {
        now,
        defer,
        newWriter: () => `ab${(this.#writers++).toString(16).padStart(30, '0')}`,
        link: (replica, host) =>
          new LocalLink(replica, { replicas: this.replicas, memory, defer }, host),
        transact: (expected, next) => this.#transact(volume, expected, next),
        onServing: () => (this.#isServing = true),
        onEnd: (end) => (this.end = end),
        onEvent: (event) => this.events.push(event),
      },
    });
    this.volume = volume;
    const onDone = (token: number, errno: number): void => {
      this.#waiting.get(token)?.(errno);
      this.#waiting.delete(token);
      world.askToSettle();
    };
    this.#target = volume.openTarget(onDone, () => (this.#address = this.#reserve()));
    this.#address = this.#reserve();
    volume.start();
    const tick = (): void => {
      if (start !== this.#start) return;
      this.inTurn(() => {
        this.replicas.tick();
        volume.tick();
      });
      world.schedule(TICK_US, tick);
    };
    tick();
    await this.world.run(() => this.#isServing || this.end !== undefined, 'the head serves');
  }

  /** The machine loses power, and with it what no drive flushed. */
  async losePower(): Promise<void> {
    this.machine.powerOff((disk) => disk.cut(() => -1));
    await this.restart();
  }

  #transact(volume: ReplicatedVolume, expected: Record, next: Record): void {
    this.world.schedule(STORE_US, () => {
      const isHeld = isSame(this.record, expected);
      if (isHeld) this.record = next;
      const { record } = this;
      this.inTurn(() =>
        volume.onOutcome(
          next.writer,
          isHeld ? { kind: 'committed' } : { kind: 'conflict', record },
        ),
      );
    });
  }

  /** Another engine on the same machine, after the one before died, with all of its drives. */
  async restart(): Promise<void> {
    this.#start++;
    this.#waiting.clear();
    await this.world.sleep(1_000_000);
    const { memory } = this.arena;
    this.#process = this.machine.start(memory);
    this.arena = new Arena(memory);
    for (let index = 0; index < this.#driveCount; index++) await this.openDrive(index);
  }

  /** Closes the drive of this index under its replica. */
  async closeDrive(index: number): Promise<void> {
    const store = this.stores[index];
    assert(store !== undefined);
    this.stores[index] = undefined;
    this.inTurn(() => this.replicas.end(replicaOf(index)));
    await this.run(store.close());
    this.replicas.forget(replicaOf(index));
  }

  /** A bit flips on this drive in each block that holds nothing but `fill`; how many there are. */
  rot(index: number, fill: number): number {
    const disk = this.machine.disks.get(pathOf(index));
    assert(disk !== undefined);
    const page = new Uint8Array(4096);
    const found = disk.writtenPages().filter((number) => {
      disk.read(number * 4096, page);
      return page.every((byte) => byte === fill);
    });
    for (const number of found) disk.flip(number * 4096, 1);
    return found.length;
  }

  /** What this drive is asked from now on takes so much longer; undefined: no more. */
  hang(index: number, delayUs: number | undefined): void {
    const disk = this.machine.disks.get(pathOf(index));
    assert(disk !== undefined);
    if (delayUs === undefined) this.machine.delaysUs.delete(disk);
    else this.machine.delaysUs.set(disk, delayUs);
  }

  inTurn(step: () => void): void {
    this.#process.io.inTurn(step);
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.world.await(work, 'what a test waits for');
  }

  async write(offsetBytes: number, bytes: Uint8Array, fua = false): Promise<number> {
    const at = this.#ownMemory() + (offsetBytes % 4096);
    this.arena.u8.set(bytes, at);
    return await this.do((token) => this.#target.write(token, offsetBytes, bytes.length, at, fua));
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    assert.equal(await this.tryToRead(offsetBytes, lengthBytes), 0);
    assert.ok(!this.memory.isUsed(this.#address), 'nobody writes to what was read');
    return this.arena.u8.slice(this.#address, this.#address + lengthBytes);
  }

  /** The errno of it. */
  tryToRead(offsetBytes: number, lengthBytes: number): Promise<number> {
    const address = this.#ownMemory();
    return this.do((token) =>
      this.#target.read(token, offsetBytes / 4096, lengthBytes / 4096, address),
    );
  }

  /** Memory that no replica uses any more. */
  #ownMemory(): number {
    if (this.memory.isUsed(this.#address)) this.#address = this.#reserve();
    return this.#address;
  }

  #reserve(): number {
    const address = this.arena.reserve(4 * EXTENT_BYTES, 4096);
    this.memory.addPiece(address, 4 * EXTENT_BYTES);
    return address;
  }

  get target(): BlockTarget {
    return this.#target;
  }

  /**
   * Writes one block after the other, `depth` at once, each filled with its own number, until the engine is killed as the drives get their
   * `killAfter`th request: for each block the numbers that it may hold, the one that was acknowledged last first.
   */
  async writeUntilKilled(
    blockCount: number,
    { depth, killAfter }: { readonly depth: number; readonly killAfter: number },
  ): Promise<ReadonlyMap<number, readonly number[]>> {
    const may = new Map<number, number[]>();
    const addresses = Array.from({ length: depth }, () => this.#reserve());
    let isDead = false;
    let fill = 0;
    const writeNext = (address: number): void => {
      if (isDead) return;
      const block = fill % blockCount;
      const value = (fill++ % 255) + 1;
      const token = this.#token++;
      may.set(block, [...(may.get(block) ?? [0]), value]);
      this.arena.u8.fill(value, address, address + 4096);
      this.#waiting.set(token, (errno) => {
        assert.equal(errno, 0);
        const values = may.get(block) ?? [];
        may.set(block, values.slice(values.indexOf(value)));
        this.world.schedule(0, () => this.inTurn(() => writeNext(address)));
      });
      this.#target.write(token, block * 4096, 4096, address, false);
    };
    const killAt = this.machine.operationCount + killAfter;
    this.machine.onOperation = () => {
      if (this.machine.operationCount !== killAt) return;
      this.world.schedule(0, () => {
        isDead = true;
        this.machine.kill(this.#process);
      });
    };
    this.inTurn(() => {
      for (const address of addresses) writeNext(address);
    });
    await this.world.run(() => isDead, 'the engine is killed');
    this.machine.onOperation = undefined;
    return may;
  }

  async do(submit: (token: number) => void): Promise<number> {
    const token = this.#token++;
    const done = new Promise<number>((resolve) => this.#waiting.set(token, resolve));
    this.inTurn(() => submit(token));
    return await this.run(done);
  }

  /** The whole volume as the drive of this index has it. */
  async contentOf(index: number): Promise<Uint8Array> {
    const store = this.stores[index];
    assert(store !== undefined);
    const address = this.arena.reserve(EXTENT_BYTES, 4096);
    const bytes = new Uint8Array(VOLUME_BYTES);
    let done: ((errno: number) => void) | undefined;
    const volume = store.openReplica(replicaOf(index), (_token, errno) => {
      done?.(errno);
      this.world.askToSettle();
    });
    for (let at = 0; at < VOLUME_BYTES; at += EXTENT_BYTES) {
      const read = new Promise<number>((resolve) => (done = resolve));
      this.inTurn(() => volume.read(1, at / 4096, EXTENT_BYTES / 4096, address));
      assert.equal(await this.run(read), 0);
      bytes.set(this.arena.u8.subarray(address, address + EXTENT_BYTES), at);
    }
    return bytes;
  }
}
