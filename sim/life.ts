/** One life of the process under test: the open store, its clients, and the traffic between them until a crash is due. */

import { Arena } from '../src/lib/arena.ts';
import { Refusal } from '../src/model/errors.ts';
import type { BlockTarget, OnDone } from '../src/model/block-target.ts';
import { Client, type Allowed } from './client.ts';
import type { DriveModel, ModelledSnapshot, ModelledVolume } from './drive-model.ts';
import { MarkingTarget } from './marking-target.ts';
import type { Plan } from './plan.ts';
import { changeReplica } from './replica-changes.ts';
import type { SimMachine, SimProcess } from './sim-machine.ts';
import type { OpenStore } from './store-under-test.ts';
import { Violation } from './world.ts';
import { drawRequest } from './workload.ts';

/** Requests that verify by reading are of this size at most. */
const VERIFY_BLOCKS = 64;

export class Life {
  readonly machine: SimMachine;
  readonly process: SimProcess;
  readonly #plan: Plan;
  readonly #model: DriveModel;
  readonly #story: () => string;
  readonly #arena: Arena;
  readonly #store: OpenStore;
  readonly #isCrashDue: () => boolean;
  readonly #strikesBefore: number;
  readonly #clients = new Map<ModelledVolume, Client>();
  /** Volumes that get no new requests, since they are about to be deleted. */
  readonly #retired = new Set<ModelledVolume>();
  #issued = 0;
  #budget = 0;
  #control: Promise<void> | undefined;
  #controlFailure: unknown;

  constructor(fields: {
    readonly machine: SimMachine;
    readonly process: SimProcess;
    readonly plan: Plan;
    readonly model: DriveModel;
    readonly story: () => string;
    readonly arena: Arena;
    readonly store: OpenStore;
    readonly isCrashDue: () => boolean;
    /** Faults that had struck when the drive began to open. */
    readonly strikesBefore: number;
  }) {
    this.machine = fields.machine;
    this.process = fields.process;
    this.#plan = fields.plan;
    this.#model = fields.model;
    this.#story = fields.story;
    this.#arena = fields.arena;
    this.#store = fields.store;
    this.#isCrashDue = fields.isCrashDue;
    this.#strikesBefore = fields.strikesBefore;
    for (const volume of this.#model.volumes) this.#attach(volume);
  }

  get requestCount(): number {
    return [...this.#clients.values()].reduce((sum, client) => sum + client.requestCount, 0);
  }

  #attach(volume: ModelledVolume): void {
    const client = this.#client(volume, undefined);
    client.attach(this.#target(volume, client.onDone));
    this.#clients.set(volume, client);
  }

  #target(volume: ModelledVolume, onDone: OnDone): BlockTarget {
    const { uuid, replica } = volume;
    if (replica === undefined) return this.#store.openTarget(uuid, onDone);
    return new MarkingTarget(this.#store.openReplica(uuid, onDone), replica);
  }

  /** The drive takes no more changes. */
  get isStopped(): boolean {
    return this.#store.impairment() !== undefined;
  }

  /** The drive was opened: what it still knows of its replicas. */
  checkReplicas(): void {
    for (const { uuid, replica } of this.#model.volumes)
      replica?.opened(
        this.#store.openReplica(uuid, () => undefined),
        this.#story(),
      );
  }

  #client(volume: ModelledVolume, snapshot: ModelledSnapshot | undefined): Client {
    const slotBytes = Client.slotBytes(
      snapshot === undefined ? this.#plan.requestBytesMax : VERIFY_BLOCKS * 4096,
    );
    const slotCount = snapshot === undefined ? this.#plan.depth : 1;
    const client: Client = new Client(this.machine.world, {
      drive: this.#model,
      model: volume.content,
      ...(snapshot === undefined ? {} : { snapshot: snapshot.content }),
      replica: volume.replica,
      arena: this.#arena,
      memory: { address: this.#arena.reserve(slotCount * slotBytes, 4096), slotCount, slotBytes },
      allowed: () => this.#allowed(volume),
      onIdle: () => {
        if (snapshot === undefined) this.#pumpLater(volume, client);
      },
      story: this.#story,
    });
    return client;
  }

  #allowed(volume: ModelledVolume): Allowed {
    const { create, resize, snapshot } = this.#plan.control;
    const grows = this.#plan.controlPercent > 0 && create + resize + snapshot > 0;
    return {
      noSpace: this.#plan.mayFill || grows,
      noSpaceForTrim: this.#plan.controlPercent > 0 && snapshot > 0,
      ioError: volume.content.mayFail || this.#isImpaired,
    };
  }

  /** The drive stopped, or opened for reading only, and a fault of this life is to blame. */
  get #isImpaired(): boolean {
    return this.#model.strikes > this.#strikesBefore && this.#store.impairment() !== undefined;
  }

  /** Sends requests until the budget is used up and all are answered, or a crash is due. */
  async traffic(): Promise<void> {
    this.#budget = this.#issued + this.#plan.requestsPerLeg;
    for (const [volume, client] of this.#clients) this.#pumpLater(volume, client);
    await this.machine.world.run(
      () => this.#isCrashDue() || this.#isQuiet,
      `requests of ${this.#story()}`,
    );
    this.#budget = 0;
    this.#rethrow();
  }

  get #isQuiet(): boolean {
    if (this.#controlFailure !== undefined) return true;
    if (this.#issued < this.#budget && this.#clients.size > this.#retired.size) return false;
    if (this.#control !== undefined) return false;
    return [...this.#clients.values()].every((client) => client.inFlight === 0);
  }

  #pumpLater(volume: ModelledVolume, client: Client): void {
    if (this.#issued >= this.#budget) return;
    const { world } = this.machine;
    const pauseUs = this.#plan.thinkUs === 0 ? 0 : world.prng.below(2 * this.#plan.thinkUs);
    if (pauseUs === 0) this.process.io.inTurn(() => this.#pump(volume, client));
    else world.schedule(pauseUs, () => this.process.io.inTurn(() => this.#pump(volume, client)));
  }

  #pump(volume: ModelledVolume, client: Client): void {
    const { prng } = this.machine.world;
    while (this.#issued < this.#budget && client.canIssue && this.#mayPump(volume, client)) {
      this.#issued++;
      client.issue(drawRequest(prng, this.#plan, client));
      if (prng.chance(this.#plan.controlPercent)) this.#startControl();
    }
  }

  #mayPump(volume: ModelledVolume, client: Client): boolean {
    return this.#clients.get(volume) === client && !this.#retired.has(volume);
  }

  #startControl(): void {
    if (this.#control !== undefined) return;
    this.#control = this.#controlOnce()
      .catch((error: unknown) => {
        this.#controlFailure = error;
      })
      .then(() => {
        this.#control = undefined;
        this.machine.world.askToSettle();
      });
    this.machine.world.askToSettle();
  }

  /** A control operation may fail for want of space, and after a fault. */
  #rethrow(): void {
    const error = this.#controlFailure;
    this.#controlFailure = undefined;
    if (error === undefined) return;
    if (error instanceof Violation) throw error;
    if (this.machine.faults.struck.length > 0) return;
    throw new Violation(
      'control',
      `${error instanceof Error ? (error.stack ?? error.message) : 'not an Error'}; ${this.#story()}`,
    );
  }

  async #controlOnce(): Promise<void> {
    const { prng } = this.machine.world;
    const { create, remove, resize, snapshot, removeSnapshot, replica } = this.#plan.control;
    const live = this.#model.volumes.filter((v) => v.presence === 'there' && !this.#retired.has(v));
    const volume = live[prng.below(Math.max(1, live.length))];
    const sum = create + remove + resize + snapshot + removeSnapshot + replica;
    let at = prng.below(Math.max(1, sum));
    if (sum === 0) return;
    if ((at -= create) < 0) return this.create(prng.pick(this.#plan.volumeBytes));
    if (volume === undefined) return;
    if ((at -= remove) < 0) return this.#remove(volume);
    if ((at -= resize) < 0) return this.#resize(volume);
    if ((at -= snapshot) < 0) return this.#snapshot(volume);
    if ((at -= replica) < 0) return changeReplica(this, this.#store, volume);
    return this.#removeSnapshot(volume);
  }

  async create(sizeBytes: number): Promise<void> {
    if (this.#model.volumes.length >= 6) return;
    const { prng } = this.machine.world;
    const uuid = Array.from({ length: 4 }, () => prng.next().toString(16).padStart(8, '0')).join(
      '',
    );
    const isReplica = this.#plan.replicas && prng.chance(75);
    const mayBeCoarse = this.#plan.limits.marksMax !== Infinity;
    const volume = this.#model.make(uuid, sizeBytes, isReplica ? { mayBeCoarse } : undefined);
    this.machine.world.trace(`create volume ${volume.content.id} ${uuid} ${sizeBytes}`);
    try {
      await this.#store.createVolume({ uuid, sizeBytes, isReplica });
    } catch (error) {
      // The volume table is small: being full is a fair answer.
      if (!isFull(error)) throw error;
      this.#model.volumes = this.#model.volumes.filter((other) => other !== volume);
      return;
    }
    volume.presence = 'there';
    if (isReplica) this.#model.life.begin(this.#store.life());
    this.#attach(volume);
    const client = this.#clients.get(volume);
    if (client !== undefined) this.#pumpLater(volume, client);
  }

  async #remove(volume: ModelledVolume): Promise<void> {
    const client = this.#clients.get(volume);
    if (client === undefined || this.#clients.size - this.#retired.size < 2) return;
    this.#retired.add(volume);
    // A frontend drains a volume before it is deleted.
    await new Promise<void>((resolve) => this.#whenIdle(client, resolve));
    this.machine.world.trace(`delete volume ${volume.content.id}`);
    volume.presence = 'removing';
    await this.#store.deleteVolume(volume.uuid);
    this.#clients.delete(volume);
    this.#retired.delete(volume);
    this.#model.removed(volume);
  }

  #whenIdle(client: Client, resolve: () => void): void {
    if (client.inFlight > 0) {
      this.machine.world.schedule(100, () => this.#whenIdle(client, resolve));
      return;
    }
    resolve();
    this.machine.world.askToSettle();
  }

  async #resize(volume: ModelledVolume): Promise<void> {
    const { prng } = this.machine.world;
    const sizeBytes = volume.content.sizeBytes + 4096 * (1 + prng.below(40));
    this.machine.world.trace(`resize volume ${volume.content.id} to ${sizeBytes}`);
    volume.growingTo = sizeBytes;
    await this.#store.resizeVolume(volume.uuid, sizeBytes);
    volume.content.resize(sizeBytes);
    volume.growingTo = undefined;
  }

  async #snapshot(volume: ModelledVolume): Promise<void> {
    if (volume.snapshots.length >= 5) return;
    const snapshot: ModelledSnapshot = {
      content: volume.content.snapshot(),
      birth: undefined,
      presence: 'making',
    };
    volume.snapshots.push(snapshot);
    this.machine.world.trace(`snapshot of volume ${volume.content.id}`);
    try {
      snapshot.birth = await this.#store.snapshot(volume.uuid);
    } catch (error) {
      if (!isFull(error)) throw error;
      snapshot.content.done();
      volume.snapshots = volume.snapshots.filter((other) => other !== snapshot);
      return;
    }
    snapshot.presence = 'there';
    snapshot.content.done();
    this.machine.world.trace(`snapshot of volume ${volume.content.id} is ${snapshot.birth}`);
  }

  async #removeSnapshot(volume: ModelledVolume): Promise<void> {
    const { prng } = this.machine.world;
    const snapshot = volume.snapshots[prng.below(Math.max(1, volume.snapshots.length))];
    if (snapshot?.birth === undefined || snapshot.presence !== 'there') return;
    this.machine.world.trace(`delete snapshot ${snapshot.birth} of volume ${volume.content.id}`);
    snapshot.presence = 'removing';
    await this.#store.deleteSnapshot(volume.uuid, snapshot.birth);
    volume.snapshots = volume.snapshots.filter((other) => other !== snapshot);
  }

  /** Flushes every volume. */
  async flush(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.process.io.inTurn(() => {
      for (const client of clients) client.issue({ kind: 'flush' });
    });
    const isDone = (): boolean => clients.every((client) => client.inFlight === 0);
    await this.machine.world.run(
      () => this.#isCrashDue() || isDone(),
      `flushing; ${this.#story()}`,
    );
  }

  /** Reads everything, or a part of it drawn at random, and holds it against the model. */
  async verify(part: 'all' | 'some'): Promise<void> {
    const { world } = this.machine;
    for (const [volume, client] of this.#clients) {
      if (part === 'some' && world.prng.chance(50)) continue;
      await this.#readAll(client, volume.content.sizeBytes);
      if (this.#isCrashDue()) return;
    }
    for (const volume of this.#model.volumes) {
      for (const snapshot of volume.snapshots) {
        if (snapshot.birth === undefined || (part === 'some' && world.prng.chance(50))) continue;
        const client = this.#client(volume, snapshot);
        client.attach(this.#store.openSnapshot(volume.uuid, snapshot.birth, client.onDone));
        await this.#readAll(client, snapshot.content.sectorCount * 512);
        if (this.#isCrashDue()) return;
      }
    }
  }

  async #readAll(client: Client, sizeBytes: number): Promise<void> {
    const blocks = sizeBytes / 4096;
    const most = Math.min(VERIFY_BLOCKS, Math.max(1, this.#plan.requestBytesMax / 4096));
    let next = 0;
    let hasIssued = false;
    // Where what was in flight before leaves no room, it asks for nothing.
    const issue = (): void => {
      hasIssued = true;
      while (next < blocks && client.canIssue) {
        const blockCount = Math.min(most, blocks - next);
        client.issue({ kind: 'read', firstBlock: next, blockCount });
        next += blockCount;
      }
    };
    while (next < blocks && !this.#isCrashDue()) {
      hasIssued = false;
      this.process.io.inTurn(issue);
      await this.machine.world.run(
        () => this.#isCrashDue() || (hasIssued && client.inFlight === 0),
        `reading all of volume ${client.model.id}; ${this.#story()}`,
      );
      if (!this.#isCrashDue() && !client.canIssue && next < blocks)
        throw new Violation('liveness', `no read is taken; ${this.#story()}`);
    }
  }

  async close(): Promise<void> {
    const closed = this.machine.world.await(this.#store.close(), `closing; ${this.#story()}`);
    for (const { uuid, replica } of this.#model.volumes)
      replica?.closing(this.#store.openReplica(uuid, () => undefined));
    const noted = closed.then(() => this.#model.life.closed());
    await noted.catch((error: unknown) => {
      // After a fault the drive may be unable to checkpoint; what follows is as a kill.
      if (error instanceof Violation || this.machine.faults.struck.length === 0) throw error;
    });
  }
}

function isFull(error: unknown): boolean {
  return (
    error instanceof Refusal && (error.code === 'DRIVE_FULL' || error.code === 'DRIVE_TABLE_FULL')
  );
}
