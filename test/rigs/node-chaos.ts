/**
 * A cluster of three nodes, each on a machine of its own as far as its network goes, with one volume under a load that knows what it was
 * promised: faults by a seeded plan, one or two at a time.
 */

import { setTimeout as sleep } from 'node:timers/promises';

import type { VolumeView } from '../../src/control/schemas.ts';
import { Prng } from '../../src/lib/prng.ts';
import { CommitClock } from '../../src/tour/commit-clock.ts';
import { DatabaseVolume } from './database-volume.ts';
import { insist, isRefusal } from './insist.ts';
import { NbdConnection } from './nbd-connection.ts';
import { NODE_FAULTS, type NodeFault, type Scene } from './node-faults.ts';
import { NODES, STORE, type Stage } from './node-stage.ts';
import { type LoadCounts, VerifyingLoad } from './verifying-load.ts';

const VOLUME = 'db';
const PATH = `/v1/volumes/${VOLUME}`;
const VOLUME_BYTES = 32 * 2 ** 20;
const DEPTH = 4;

const HOLD_MS = { least: 200, most: 5_000 };
/** Between two faults that happen at once. */
const APART_MS_MAX = 300;
/** How long all may take to be well again. More is a fault of its own. */
const HEAL_MS_MAX = 120_000;
/** The state of a volume all of whose replicas are. */
const WELL = 'synced';
const POLL_MS = 20;
/** So many answers, and what follows is no longer the fault's. */
const ANSWERS = 50;

/** Of what is told of a bar that was missed. */
const LINES_MAX = 80;
const LINE_LENGTH_MAX = 240;

export type ChaosOptions = {
  readonly seed: number;
  readonly seconds: number;
  /** Faults with this in their name happen, one at a time; undefined: all do. */
  readonly only: string | undefined;
  /** Where PostgreSQL's programs are: beside the volume there is one with a database then. */
  readonly postgres: string | undefined;
  readonly onProgress: (line: string) => void;
};

/** Of one kind of fault: how often it happened, in which state of the volume, and the longest time between two answers around it. */
export type FaultReport = {
  readonly fault: NodeFault;
  readonly gapsMs: readonly number[];
  readonly states: ReadonlyMap<string, number>;
};

export type ChaosReport = {
  /** What is wrong; empty is what is asked for. */
  readonly problems: readonly string[];
  /** Of faults that happened alone, to a volume that was well: these the bars are for. */
  readonly alone: readonly FaultReport[];
  /** Of the others; their gaps are those of all that was wrong. */
  readonly together: readonly FaultReport[];
  readonly counts: LoadCounts;
  /** Answered to clients that stayed with a head that was overtaken, or was about to be. */
  readonly watchedReads: number;
  /** Transactions of the database that returned, and those that were looked for after takeovers. */
  readonly commits: { readonly made: number; readonly compared: number };
};

type Happening = { readonly fault: NodeFault; readonly node: string };

export class NodeChaos {
  readonly #stage: Stage;
  readonly #options: ChaosOptions;
  readonly #random: Prng;
  readonly #clock = new CommitClock(() => performance.now());
  readonly #scene: Scene;
  readonly #load: VerifyingLoad;
  readonly #database: DatabaseVolume | undefined;
  /** Where the database is taken over too, that. */
  #following: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();
  /** Nodes with a fault. */
  readonly #ill = new Set<string>();
  #head = 'a';
  #uri: Promise<string> = Promise.resolve('');
  #takeoverAtMs = 0;
  /** Of the wall clock: when the faults of the round began. */
  #roundAtMs = Date.now();
  #watchedReads = 0;
  readonly #alone = new Tally();
  readonly #together = new Tally();

  private constructor(stage: Stage, options: ChaosOptions, database: DatabaseVolume | undefined) {
    this.#stage = stage;
    this.#database = database;
    this.#options = options;
    this.#random = new Prng(options.seed);
    this.#uri = this.#attach(false);
    this.#load = new VerifyingLoad({
      random: new Prng(options.seed + 1),
      run: this.#random.next(),
      uri: () => this.#uri,
      volumeBytes: VOLUME_BYTES,
      depth: DEPTH,
      reconnectLimitMs: HEAL_MS_MAX,
      onReply: () => this.#clock.note(),
    });
    this.#scene = { stage, takeOver: () => this.#takeOver() };
  }

  /** Makes the volume, and attaches it. */
  static async start(stage: Stage, options: ChaosOptions): Promise<NodeChaos> {
    const replicas = { count: NODES.length, spread: { level: 'zone', isHard: true } };
    const body = { name: VOLUME, sizeBytes: VOLUME_BYTES, replicas };
    const [node = ''] = NODES;
    await stage.cluster.node(node).api.post('/v1/volumes', body);
    const { cluster } = stage;
    const { postgres: programs } = options;
    const database =
      programs === undefined
        ? undefined
        : await DatabaseVolume.start({ cluster, programs, node, replicaCount: NODES.length });
    return new NodeChaos(stage, options, database);
  }

  async run(): Promise<ChaosReport> {
    const problems: string[] = [];
    const endAtMs = performance.now() + this.#options.seconds * 1000;
    try {
      await this.#load.verifyAll();
      while (performance.now() < endAtMs && this.#load.mismatches.length === 0) await this.#round();
      if (this.#load.mismatches.length === 0) await this.#readEachReplica();
      await this.#database?.close();
    } catch (error) {
      problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
      this.#database?.abandon();
      this.#tellWhy();
    }
    this.#load.stop();
    // A control process may end because the store does not answer it; engines and attachers have no reason.
    const ended = this.#stage.ends.filter(({ role }) => role !== 'control');
    const wrong = this.#load.mismatches.map(
      ({ sector, found, legal }) =>
        `sector ${sector} holds version ${found}, right is ${legal.join(' or ')}`,
    );
    return {
      problems: [...problems, ...ended.map(({ told }) => told), ...wrong],
      alone: this.#alone.reports(),
      together: this.#together.reports(),
      counts: this.#load.counts,
      watchedReads: this.#watchedReads,
      commits: { made: this.#database?.commits ?? 0, compared: this.#database?.compared ?? 0 },
    };
  }

  // --- Faults ---------------------------------------------------------------------------------------------------

  /** Faults, their end, and in three of four the state that was before. */
  async #round(): Promise<void> {
    const happenings = this.#draw();
    const state = await this.#state();
    const endsBefore = this.#stage.ends.length;
    this.#running = this.#load.run();
    // Told below, when the round ends.
    this.#running.catch(() => undefined);
    this.#database?.resume();
    await this.#untilAnswers(ANSWERS);
    this.#clock.takeLongestGapMs();
    const begunAtMs = performance.now();
    this.#roundAtMs = Date.now();
    this.#takeoverAtMs = 0;
    const watching = happenings.some(({ fault }) => fault.takesOver) ? await this.#watch() : [];
    for (const { node } of happenings) this.#ill.add(node);
    for (const [index, { fault, node }] of happenings.entries()) {
      if (index > 0) await sleep(this.#random.below(APART_MS_MAX));
      await fault.begin(this.#scene, node);
    }
    await sleep(HOLD_MS.least + this.#random.below(HOLD_MS.most - HOLD_MS.least));
    const undoneAtMs = performance.now();
    // At once: control does not start while the store is ill.
    await Promise.all(happenings.map(({ fault, node }) => fault.undo(this.#scene, node)));
    for (const { node } of happenings) this.#ill.delete(node);
    await this.#untilAnswers(ANSWERS);
    const answersAtMs = performance.now();
    await this.#following;
    if (this.#random.below(4) > 0) await this.#untilSynced();
    const endedAtMs = performance.now();
    this.#load.stop();
    await this.#running;
    await this.#database?.pause();
    for (const each of watching) each.destroy();
    const gapMs = this.#gapMs();
    await this.#load.verifyAll();
    this.#clock.takeLongestGapMs();
    const isAlone = happenings.length === 1 && state === WELL;
    const tally = isAlone ? this.#alone : this.#together;
    for (const { fault } of happenings) tally.note(fault, state, gapMs);
    const what = happenings.map(({ fault, node }) => `${fault.target} ${node}: ${fault.name}`);
    const seconds = (fromMs: number, toMs: number): string => ((toMs - fromMs) / 1000).toFixed(1);
    this.#options.onProgress(
      `${what.join(' and ')}, while ${state}: no answer for ${Math.round(gapMs)} ms; ` +
        `for ${seconds(begunAtMs, undoneAtMs)} s, undone in ${seconds(undoneAtMs, answersAtMs)} s, ` +
        `well again after ${seconds(answersAtMs, endedAtMs)} s; ${this.#load.counts.writes} writes so far`,
    );
    for (const { told } of this.#stage.ends.slice(endsBefore))
      this.#options.onProgress(`  ${told}`);
    const [{ fault }] = happenings;
    if (isAlone && gapMs > (fault.barMs ?? Infinity)) this.#tellWhy();
  }

  /** Half of the time one fault that must be borne, else anything; then none, one or two more, on two nodes and the store at most. */
  #draw(): [Happening, ...Happening[]] {
    const random = this.#random;
    const members = NODES.filter((node) => node !== this.#head);
    const nodes = {
      head: () => this.#head,
      member: () => random.pick(members),
      store: () => STORE,
    };
    const nodeOf = ({ target }: NodeFault): string => nodes[target]();
    const hasStore = this.#stage.store !== undefined;
    const { only = '' } = this.#options;
    const faults = NODE_FAULTS.filter(
      ({ target, name }) => (hasStore || target !== 'store') && name.includes(only),
    );
    const borne = faults.filter(({ isBorne }) => isBorne);
    const first = random.pick(random.chance(50) && borne.length > 0 ? borne : faults);
    const happenings: [Happening, ...Happening[]] = [{ fault: first, node: nodeOf(first) }];
    while (only === '' && random.chance(50)) {
      const fault = random.pick(faults);
      const node = nodeOf(fault);
      const nodesIll = happenings.filter((each) => each.node !== STORE).length;
      // Of two on one node the undoing of one would be that of both; and who takes over must be well.
      const isApart = happenings.every((each) => each.node !== node);
      const isBounded = node === STORE || nodesIll < 2;
      if (isApart && isBounded && fault.takesOver === undefined) happenings.push({ fault, node });
    }
    return happenings;
  }

  /** What the head's node says that replicas are, the database's too, in a word. */
  async #state(): Promise<string> {
    const volumes = await this.#volumes();
    const states = volumes.flatMap(({ replicas }) => replicas.map(({ state }) => state));
    return states.length === 0 ? 'unknown' : [...new Set(states)].toSorted().join(' and ');
  }

  /** None while it does not tell. */
  async #volumes(): Promise<readonly VolumeView[]> {
    const { api } = this.#stage.cluster.node(this.#head);
    return await api.list<VolumeView>('/v1/volumes').catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      return [];
    });
  }

  /** What the nodes did meanwhile: what they did again and again once, when it began. */
  #tellWhy(): void {
    const known = new Set<string>();
    const lines = this.#stage.logged(this.#roundAtMs).filter((line) => {
      const what = line.slice(line.indexOf(' ms ') + 1);
      const isNew = !known.has(what);
      known.add(what);
      return isNew;
    });
    for (const line of lines.slice(-LINES_MAX)) {
      this.#options.onProgress(`  ${line.slice(0, LINE_LENGTH_MAX)}`);
    }
  }

  // --- The volume -----------------------------------------------------------------------------------------------

  async #attach(force: boolean): Promise<string> {
    const { api } = this.#stage.cluster.node(this.#head);
    const attach = async (): Promise<string> => {
      const { attachment } = await api.put<VolumeView>(`${PATH}/attachment`, { as: 'nbd', force });
      if (typeof attachment?.uri === 'string') return attachment.uri;
      throw new Error(`no address of the volume on ${this.#head}`);
    };
    return await insist(attach, {
      limitMs: HEAL_MS_MAX,
      onRefused: (error) => this.#options.onProgress(`attach on ${this.#head}: ${String(error)}`),
    });
  }

  /** The client's machine is given up: what it had not heard of may have happened or not. */
  async #takeOver(): Promise<void> {
    this.#head = this.#random.pick(
      NODES.filter((node) => !this.#ill.has(node) && node !== this.#head),
    );
    this.#takeoverAtMs = performance.now();
    this.#uri = this.#attach(true);
    this.#load.reconnect();
    await this.#uri;
    this.#following = this.#database?.takeOver(this.#head) ?? Promise.resolve();
    // Told where it is waited for.
    this.#following.catch(() => undefined);
  }

  /** A client that stays with the head that is about to be overtaken. */
  async #watch(): Promise<NbdConnection[]> {
    const connection = await NbdConnection.open(await this.#uri);
    void this.#load.watch(connection).then((count) => (this.#watchedReads += count));
    return [connection];
  }

  async #untilAnswers(count: number): Promise<void> {
    const wanted = this.#clock.count + count;
    const endAtMs = performance.now() + HEAL_MS_MAX;
    while (this.#clock.count < wanted && this.#load.mismatches.length === 0) {
      if (performance.now() > endAtMs) throw new Error(`no answer for ${HEAL_MS_MAX} ms`);
      await Promise.race([sleep(POLL_MS), this.#running]);
    }
  }

  async #untilSynced(): Promise<void> {
    const endAtMs = performance.now() + HEAL_MS_MAX;
    for (;;) {
      if ((await this.#state()) === WELL) return;
      if (performance.now() > endAtMs) {
        const told = (await this.#volumes()).flatMap(({ name, replicas }) =>
          replicas.map(({ node, state }) => `${name} on ${node} ${state}`),
        );
        throw new Error(`not synced after ${HEAL_MS_MAX} ms: ${told.join(', ')}`);
      }
      await sleep(POLL_MS);
    }
  }

  /** Since the round's start; after a takeover from its request on. */
  #gapMs(): number {
    const { servedAgainAtMs } = this.#load;
    const longestMs = this.#clock.takeLongestGapMs();
    if (this.#takeoverAtMs === 0) return longestMs;
    const servedAtMs = servedAgainAtMs.find((atMs) => atMs > this.#takeoverAtMs);
    return servedAtMs === undefined ? longestMs : servedAtMs - this.#takeoverAtMs;
  }

  /** Attached on each node in turn, the replica beside the head is what is read. */
  async #readEachReplica(): Promise<void> {
    await this.#untilSynced();
    for (const node of NODES) {
      if (node !== this.#head) {
        this.#ill.clear();
        for (const other of NODES) if (other !== node) this.#ill.add(other);
        await this.#takeOver();
        await this.#following;
      }
      await this.#load.verifyAll();
      await this.#untilSynced();
      this.#options.onProgress(`read on ${node}: ${this.#load.mismatches.length} mismatches`);
    }
    this.#ill.clear();
  }
}

/** Counts what happened, by fault. */
class Tally {
  readonly #reports = new Map<NodeFault, { gapsMs: number[]; states: Map<string, number> }>();

  note(fault: NodeFault, state: string, gapMs: number): void {
    const report = this.#reports.get(fault) ?? { gapsMs: [], states: new Map<string, number>() };
    this.#reports.set(fault, report);
    report.gapsMs.push(gapMs);
    report.states.set(state, (report.states.get(state) ?? 0) + 1);
  }

  reports(): FaultReport[] {
    return NODE_FAULTS.flatMap((fault) => {
      const report = this.#reports.get(fault);
      return report === undefined ? [] : [{ fault, ...report }];
    });
  }
}
