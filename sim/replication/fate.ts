/** When what goes wrong, drawn from the seed of a history, or as a scenario says. */

import { Prng } from '../../src/lib/prng.ts';
import type { HeadEvent } from '../../src/replication/head-host.ts';
import type { Record } from '../../src/replication/record.ts';
import type { Cluster } from './cluster.ts';
import type { Fault, Mood } from './fault.ts';
import { FAULTS, mend } from './faults.ts';
import { PROMPTED } from './prompted.ts';
import type { Struck } from './scenario.ts';
import { situationOf } from './situation.ts';

const MEND = 'everything is mended';
const BY_NAME: ReadonlyMap<string, Pick<Fault, 'happen'>> = new Map<string, Pick<Fault, 'happen'>>([
  ...[...FAULTS, ...PROMPTED].map((fault) => [fault.name, fault] as const),
  [MEND, { happen: mend }],
]);

/** Each history changes the set of replicas at least so often. */
export const SET_CHANGES_MIN = 3;
/** Of which the last ones are made where all requests are asked: time for a change of the set, and for a replica to return. */
const SET_CHANGE_US = 3_000_000;

export function isKnown({ name }: Struck): boolean {
  return BY_NAME.has(name);
}

/** Lets the fault of `struck` happen now. */
export function strike(cluster: Cluster, { name, draw }: Struck): void {
  cluster.count(`fault: ${name}`);
  cluster.count(`while ${situationOf(cluster)}: ${name}`);
  cluster.world.trace(`fault: ${name}`);
  cluster.prng = new Prng(draw);
  BY_NAME.get(name)!.happen(cluster);
}

/**
 * Strikes a cluster: `faultCount` times as requests are asked, more where requests stand still or something rare is under way, and at the
 * end until the set has changed often enough.
 */
export class Fate {
  readonly #cluster: Cluster;
  readonly #prng: Prng;
  readonly #mood: Mood;
  readonly #faultCount: number;
  readonly #requestCount: number;
  /** What happened so far. */
  readonly struck: Struck[] = [];
  /** Nothing is to come any more. */
  isOver = false;
  /** Of those that come as requests are asked: decided, and of these, still to come. */
  #decided = 0;
  #coming = 0;
  #moments = 0;
  #lastLeft: number;
  #stillSinceUs = 0;

  constructor(
    cluster: Cluster,
    {
      prng,
      mood,
      faultCount,
    }: { readonly prng: Prng; readonly mood: Mood; readonly faultCount: number },
  ) {
    this.#cluster = cluster;
    this.#prng = prng;
    this.#mood = mood;
    this.#faultCount = faultCount;
    this.#requestCount = cluster.requests.left;
    this.#lastLeft = cluster.requests.left;
    cluster.requests.onAsk = () => this.#onAsk();
    // Much goes wrong only if something fails in the middle of a takeover.
    cluster.onClaim = () => {
      if (!this.#isAsking || !prng.chance(25)) return;
      this.#at(prng.below(prng.chance(50) ? 4000 : 1_200_000), () => {
        if (this.#isAsking) this.#strike(this.#draw());
      });
    };
    cluster.onHeadEvent = (event) => this.#onHeadEvent(event);
    cluster.store.onSubmit = (next) => this.#onSubmit(next);
    this.#look();
  }

  get #isDone(): boolean {
    return (
      !this.#isAsking &&
      this.#decided >= this.#faultCount &&
      this.#coming === 0 &&
      this.#cluster.setChanges >= SET_CHANGES_MIN
    );
  }

  get #isAsking(): boolean {
    return this.#cluster.requests.left > 0;
  }

  #onAsk(): void {
    const asked = this.#requestCount - this.#cluster.requests.left;
    while (
      this.#decided < this.#faultCount &&
      asked >= (this.#decided * this.#requestCount) / (this.#faultCount + 1)
    ) {
      this.#decide(this.#prng.below(3000));
    }
  }

  /** One of those that were asked for, and now and then another one with it. */
  #decide(delayUs: number): void {
    this.#decided++;
    this.#coming++;
    this.#at(delayUs, () => {
      this.#coming--;
      this.#strike(this.#draw());
      if (!this.#prng.chance(30)) return;
      this.#at(this.#prng.below(3000), () => {
        if (this.#isAsking) this.#strike(this.#draw());
      });
    });
  }

  #onHeadEvent(event: HeadEvent): void {
    if (!this.#isAsking) return;
    const prng = this.#prng;
    if (event === 'extents made equal' && prng.chance(30)) this.#onMadeEqual();
    else if (event === 'rebuild begun' && prng.chance(40)) this.#onRebuild();
    else if (event === 'refusal copied to all' && prng.chance(60)) {
      this.#at(0, () => this.#strike('a connection breaks while a refusal is copied to all'));
    } else if (event === 'stalled' && prng.chance(60)) {
      this.#at(0, () => {
        this.#strike(
          'another replica is to take the place of one that is gone, and the store loses answers',
        );
      });
    }
  }

  /** Before anything was copied; or between two copies of one extent, if one of them takes long. */
  #onMadeEqual(): void {
    const prng = this.#prng;
    const isSlow = prng.chance(60);
    if (isSlow) this.#at(0, () => this.#strike('a copy is slow while members are made equal'));
    this.#at(prng.below(isSlow ? 40_000 : 1000), () => {
      this.#strike('a head that makes members equal is lost');
    });
  }

  /** While its session is opened, or while it is copied to. */
  #onRebuild(): void {
    const prng = this.#prng;
    if (prng.chance(50)) this.#at(0, () => this.#strike('replicas that are to return are slow'));
    const name = prng.chance(70) ? 'the volume is grown' : 'members are full while replicas return';
    this.#at(prng.below(prng.chance(50) ? 6000 : 40_000), () => this.#strike(name));
  }

  /** Outcomes may be long in coming: a member that is gone for another one may be back before. */
  #onSubmit(next: Record): void {
    const { members } = this.#cluster.store.record;
    const isReplaced =
      [...next.members.keys()].some((replica) => !members.has(replica)) &&
      [...members.keys()].some((replica) => !next.members.has(replica));
    if (!this.#isAsking || !isReplaced || !this.#prng.chance(50)) return;
    this.#at(this.#prng.below(2000), () => {
      this.#strike('one that is gone is back as another replica takes its place');
    });
  }

  /** Where requests stand still, sooner or later one more, or all is mended; after the last request what is missing. */
  #look(): void {
    const { world, requests } = this.#cluster;
    if (this.#isDone) {
      this.#at(0, () => {
        this.#strike(MEND);
        this.isOver = true;
      });
      return;
    }
    if (requests.left !== this.#lastLeft) this.#stillSinceUs = world.nowUs;
    this.#lastLeft = requests.left;
    const stillUs = world.nowUs - this.#stillSinceUs;
    if (!this.#isAsking) {
      if (stillUs > SET_CHANGE_US && this.#coming === 0) this.#changeSet();
    } else if (stillUs > 1_200_000) {
      // A takeover from a head that is not reached takes a little more than a second.
      if (this.#decided >= this.#faultCount) {
        this.#at(0, () => this.#strike(MEND));
        this.#stillSinceUs = world.nowUs;
      } else if (this.#prng.chance(2)) this.#decide(0);
    }
    world.schedule(2000 + this.#prng.below(10_000), () => this.#look());
  }

  #changeSet(): void {
    this.#stillSinceUs = this.#cluster.world.nowUs;
    this.#at(0, () => {
      this.#strike(MEND);
      const canMove = this.#cluster.spares.length > 0;
      this.#strike(canMove ? 'a replica is moved' : 'a machine loses power for a moment');
    });
  }

  /** At a moment of its own: nothing else happens at it, so that a scenario that names it is the same history. */
  #at(delayUs: number, run: () => void): void {
    const { world } = this.#cluster;
    const atUs = Math.floor(world.nowUs + delayUs) + 1 + (++this.#moments % 1000) / 1000;
    world.schedule(atUs - world.nowUs, run);
  }

  #strike(name: string): void {
    const { nowUs } = this.#cluster.world;
    const struck = { kind: 'fault', atUs: nowUs, name, draw: this.#prng.next() } as const;
    this.struck.push(struck);
    strike(this.#cluster, struck);
  }

  /** One of those that can happen now. */
  #draw(): string {
    const { serving, spares } = this.#cluster;
    const isThere = { service: serving?.head?.state === 'serving', spare: spares.length > 0 };
    const possible = FAULTS.filter(({ needs }) => needs === undefined || isThere[needs]);
    const weightOf = (fault: Fault): number => fault.moods?.[this.#mood] ?? fault.weight;
    let at = this.#prng.below(possible.reduce((total, fault) => total + weightOf(fault), 0));
    return possible.find((fault) => (at -= weightOf(fault)) < 0)!.name;
  }
}
