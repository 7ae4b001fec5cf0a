/**
 * One seed: a drive is formatted, volumes are made, and lives of the process follow one another, each with traffic, ended by a
 * SIGKILL, a power cut or a clean close, at rest or in the middle of anything, also inside recovery. After each the drive is
 * opened and what it holds is compared with the model.
 */

import { Arena } from '../src/lib/arena.ts';
import { Fault, Refusal } from '../src/model/errors.ts';
import { cutDisk, keptOnly } from './cuts.ts';
import { DriveModel } from './drive-model.ts';
import { promised } from './faults.ts';
import { Life } from './life.ts';
import type { Plan } from './plan.ts';
import { rot } from './rot.ts';
import { SimMachine, type SimProcess } from './sim-machine.ts';
import type { OpenStore, StoreUnderTest } from './store-under-test.ts';
import { Violation, type Happening, type World } from './world.ts';

export const DRIVE_PATH = '/sim/drive.img';
/** 64 MiB: client requests and the store's memories of a small drive. */
const MEMORY_PAGES = 1024;
/** Crashes in a row inside recovery. */
const RECOVERY_CRASHES_MAX = 3;
const BUSY_TRIES_MAX = 5000;

export type Summary = {
  readonly requests: number;
  readonly crashes: number;
  readonly refused: boolean;
};

/** One memory for all processes of this run of Node, since a WebAssembly.Memory is slow to make. Zeroed for each. */
const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });

/** The drive may refuse to open after a fault that damages it: the end of the history, and a right one. */
class Refused extends Error {}

export class DriveSim {
  readonly #world: World;
  readonly #machine: SimMachine;
  readonly #store: StoreUnderTest;
  readonly #plan: Plan;
  readonly #model = new DriveModel();
  /** What happened, for messages. */
  readonly #events: string[] = [];
  /** Faults that had struck when the drive last began to open. */
  #strikesBefore = 0;
  #arenaUsed = memory.buffer.byteLength;
  #requests = 0;
  #crashes = 0;
  #isCrashDue = false;
  #isAtRest = false;
  #isRotten = false;
  #operationsToCrash = Infinity;
  #crash: Happening | undefined;
  /** Undefined: drawn. */
  #crashDelayUs: number | undefined;

  constructor(world: World, store: StoreUnderTest, plan: Plan) {
    this.#world = world;
    this.#store = store;
    this.#plan = plan;
    this.#machine = new SimMachine(world, { sectorBytes: plan.sectorBytes });
    this.#machine.latency = plan.latency;
    this.#machine.faults.onStrike = (fault) => this.#model.strike(fault);
    this.#machine.onOperation = () => {
      if (--this.#operationsToCrash !== 0) return;
      const delayUs = this.#crashDelayUs ?? world.prng.below(world.prng.pick([1, 50, 500]));
      this.#crash = world.schedule(delayUs, () => {
        this.#isCrashDue = true;
      });
    };
  }

  async run(): Promise<Summary> {
    await this.#format();
    try {
      for (let leg = 0; leg <= this.#plan.legCount; leg++) {
        await this.#leg({ isFirst: leg === 0, isLast: leg === this.#plan.legCount });
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return this.#summary(true);
    }
    return this.#summary(false);
  }

  /**
   * One life with traffic, cut as operation `operation` of it starts, so that of the writes in the cache exactly those remain that `keep`
   * names by their place in it. Then everything is verified. Tells how many writes there were, or that the life ended before.
   */
  async runCut(options: {
    readonly operation: number;
    readonly keep: (index: number) => boolean;
  }): Promise<{ readonly reached: boolean; readonly cached: number }> {
    await this.#format();
    const { life, arena } = await this.#open({ mayCrash: false });
    await this.#makeVolumes(life);
    this.#operationsToCrash = options.operation;
    this.#crashDelayUs = 0;
    await life.traffic();
    const reached = this.#isCrashDue;
    let cached = 0;
    this.#events.push(`cut at operation ${options.operation}`);
    this.#machine.powerOff((disk) => {
      const writes = disk.cachedWrites();
      cached = writes.length;
      disk.cut(keptOnly(new Set(writes.filter((_, index) => options.keep(index)))));
    });
    this.#model.crash('cut');
    this.#died(arena);
    const after = await this.#open({ mayCrash: false });
    await after.life.verify('all');
    await after.life.close();
    this.#machine.kill(after.life.process);
    this.#died(after.arena);
    await this.#check('an enumerated cut');
    return { reached, cached };
  }

  #summary(refused: boolean): Summary {
    return { requests: this.#requests, crashes: this.#crashes, refused };
  }

  readonly #story = (): string => `after ${this.#events.slice(-6).join(', ')}`;

  #start(): { readonly process: SimProcess; readonly arena: Arena } {
    const process = this.#machine.start(memory);
    const arena = new Arena(memory);
    arena.u8.fill(0, 0, this.#arenaUsed);
    this.#arenaUsed = 0;
    return { process, arena };
  }

  #died(arena: Arena): void {
    const start = memory.buffer.byteLength - arena.sizeBytes;
    this.#arenaUsed = Math.max(this.#arenaUsed, start + arena.usedBytes);
    this.#noCrash();
  }

  #noCrash(): void {
    this.#isCrashDue = false;
    this.#operationsToCrash = Infinity;
    if (this.#crash !== undefined) this.#crash.cancelled = true;
  }

  async #format(): Promise<void> {
    const { process, arena } = this.#start();
    const { geometry } = this.#plan;
    await this.#world.await(
      this.#store.format(process.env, { path: DRIVE_PATH, geometry }),
      'formatting',
    );
    // What is formatted is durable: half of the histories begin with a cut.
    if (this.#world.prng.chance(50)) this.#cut();
    else this.#machine.kill(process);
    this.#events.push('format');
    this.#died(arena);
    this.#arenaUsed = memory.buffer.byteLength;
    this.#armFaults();
  }

  #armFaults(): void {
    for (const fault of this.#plan.faults) this.#machine.faults.add(fault);
  }

  async #leg(place: { readonly isFirst: boolean; readonly isLast: boolean }): Promise<void> {
    const { prng } = this.#world;
    const { life, arena } = await this.#open({ mayCrash: !place.isFirst && !place.isLast });
    this.#takeFaults();
    if (place.isFirst) await this.#makeVolumes(life);
    else await life.verify(place.isLast || prng.chance(this.#plan.verifyPercent) ? 'all' : 'some');
    if (place.isLast) {
      await life.close();
      this.#machine.kill(life.process);
      this.#died(arena);
      await this.#check('a clean close');
      return;
    }
    const how = this.#drawEnd();
    if (how !== 'close' && prng.chance(this.#plan.midTrafficPercent)) {
      this.#operationsToCrash = 1 + prng.below(this.#plan.requestsPerLeg * 3);
    }
    await life.traffic();
    if (!this.#isCrashDue && prng.chance(50)) {
      await this.#world.sleep(prng.below(prng.pick([100, 20_000, 3_000_000])));
    }
    if (!this.#isCrashDue && prng.chance(30)) await life.verify('some');
    this.#takeFaults();
    this.#requests += life.requestCount;
    if (this.#plan.rotPlaces.length > 0 && !this.#isCrashDue) await this.#rest(life);
    if (how === 'close' && this.#machine.faults.struck.length === 0) await life.close();
    if (life.isStopped) this.#model.life.stopped();
    this.#end(how, life.process, arena);
    if (this.#isAtRest) this.#rot();
    if (prng.chance(30)) await this.#check(how);
  }

  /** Everything is flushed, and the log had the time to say so. */
  async #rest(life: Life): Promise<void> {
    await life.flush();
    await this.#world.sleep(500_000);
    this.#isAtRest = !this.#isCrashDue;
  }

  #rot(): void {
    this.#isAtRest = false;
    const { prng } = this.#world;
    const disk = this.#machine.disks.get(DRIVE_PATH);
    if (disk === undefined) return;
    const { geometry, rotPlaces } = this.#plan;
    this.#events.push(rot(disk, { prng, place: prng.pick(rotPlaces), geometry }));
    this.#isRotten = true;
    for (const { content } of this.#model.volumes) content.mayFail = true;
  }

  async #makeVolumes(life: Life): Promise<void> {
    for (const sizeBytes of this.#plan.volumeBytes) {
      const made = life.create(sizeBytes);
      await this.#world.await(made, 'creating a volume').catch((error: unknown) => {
        if (this.#machine.faults.struck.length === 0) throw error;
      });
    }
  }

  #drawEnd(): 'kill' | 'cut' | 'close' {
    const at = this.#world.prng.below(100);
    if (at < this.#plan.killPercent) return 'kill';
    return at < this.#plan.killPercent + this.#plan.cutPercent ? 'cut' : 'close';
  }

  #end(how: 'kill' | 'cut' | 'close', process: SimProcess, arena: Arena): void {
    this.#events.push(how);
    this.#crashes++;
    if (how === 'cut') this.#cut();
    else this.#machine.kill(process);
    this.#model.crash(how === 'cut' ? 'cut' : 'kill');
    this.#died(arena);
  }

  #cut(): void {
    const { prng } = this.#world;
    const policy = prng.pick(this.#plan.cutPolicies);
    this.#machine.powerOff((disk) =>
      cutDisk(disk, { prng, policy, tearPercent: this.#plan.tearPercent }),
    );
  }

  /** Opens the drive in a new process; crashes into that up to three times where the plan has it. */
  async #open(options: {
    readonly mayCrash: boolean;
  }): Promise<{ readonly life: Life; readonly arena: Arena }> {
    const { prng } = this.#world;
    for (let crashes = 0; ; crashes++) {
      const { process, arena } = this.#start();
      const crash =
        options.mayCrash &&
        crashes < RECOVERY_CRASHES_MAX &&
        prng.chance(this.#plan.crashRecoveryPercent);
      if (crash) this.#operationsToCrash = 1 + prng.below(prng.pick([10, 40, 150]));
      const store = await this.#openOrCrash(process, arena);
      if (store === undefined) {
        this.#events.push('recovery begun');
        const isKill =
          prng.below(this.#plan.killPercent + this.#plan.cutPercent + 1) < this.#plan.killPercent;
        this.#end(isKill ? 'kill' : 'cut', process, arena);
        continue;
      }
      this.#noCrash();
      this.#events.push('recovery');
      if (this.#isOutdated) this.#model.recoveredOutdated(store.listVolumes());
      else this.#model.recovered(store.listVolumes());
      if (!this.#isOutdated) this.#model.life.opened(store.life(), this.#story());
      const life = new Life({
        machine: this.#machine,
        process,
        plan: this.#plan,
        model: this.#model,
        story: this.#story,
        arena,
        store,
        isCrashDue: () => this.#isCrashDue,
        strikesBefore: this.#strikesBefore,
      });
      if (!this.#isOutdated) life.checkReplicas();
      return { life, arena };
    }
  }

  async #openOrCrash(process: SimProcess, arena: Arena): Promise<OpenStore | undefined> {
    let failures = 0;
    for (let tries = 0; tries < BUSY_TRIES_MAX; tries++) {
      let outcome: { readonly store: OpenStore } | { readonly error: unknown } | undefined;
      this.#strikesBefore = this.#model.strikes;
      this.#store.open(process.env, { path: DRIVE_PATH, arena, limits: this.#plan.limits }).then(
        (store) => (outcome = { store }),
        (error: unknown) => (outcome = { error }),
      );
      await this.#world.run(
        () => outcome !== undefined || this.#isCrashDue,
        `opening; ${this.#story()}`,
      );
      if (outcome === undefined) return undefined;
      if ('store' in outcome) return outcome.store;
      const { error } = outcome;
      if (!(error instanceof Fault) && !(error instanceof Refusal)) throw error;
      if (error.code !== 'DRIVE_BUSY') {
        const { struck } = this.#machine.faults;
        const worst = struck.map((fault) => promised(fault));
        if (this.#isRotten || worst.some((promise) => promise !== 'nothing-lost'))
          throw new Refused(error.message);
        // A call that failed once is no damage: the next opening succeeds. Each fault strikes once.
        if (struck.length > failures++) continue;
        throw new Violation('opens', `${error.code}: ${error.message}; ${this.#story()}`);
      }
      // The dead process's requests are still under way.
      await this.#world.sleep(100 + this.#world.prng.below(5000));
    }
    throw new Violation('liveness', `the drive stays busy; ${this.#story()}`);
  }

  get #isOutdated(): boolean {
    return this.#machine.faults.struck.some((fault) => promised(fault) === 'outdated');
  }

  /** Tells the model what the faults that struck so far may cost. */
  #takeFaults(): void {
    for (const fault of this.#machine.faults.struck) {
      if (promised(fault) === 'nothing-lost') continue;
      for (const { content } of this.#model.volumes) {
        content.mayFail = true;
        if (promised(fault) === 'outdated') content.outdated = true;
      }
    }
  }

  async #check(when: string): Promise<void> {
    if (this.#plan.faults.length > 0 || this.#isRotten) return;
    // Checking 16 TiB takes a map of all its cells.
    if (this.#plan.geometry.sizeBytes > 2 ** 40) return;
    const { process, arena } = this.#start();
    const { findings } = await this.#world.await(
      this.#store.check(process.env, DRIVE_PATH),
      `drive check after ${when}`,
    );
    this.#machine.kill(process);
    this.#died(arena);
    this.#arenaUsed = memory.buffer.byteLength;
    if (findings.length > 0)
      throw new Violation('check', `${findings.join('; ')}; ${this.#story()}`);
  }
}
