/**
 * One seed: nodes die, vanish together, return, are drained and maintained, drives fail, on virtual time; what is decided is done, at its
 * own pace. Safety is looked at in every step; in the end all is well again, and everything must come to rest.
 */

import { assert } from '../../src/lib/assert.ts';
import { Prng } from '../../src/lib/prng.ts';
import { Cluster } from '../../src/placement/cluster.ts';
import {
  type Drive,
  LEVELS,
  type Node,
  type Replica,
  type Volume,
} from '../../src/placement/model.ts';
import { place } from '../../src/placement/place.ts';
import { type Change, decideRepairs, GRACE_MS, type Repairs } from '../../src/placement/repairs.ts';
import { Violation } from '../world.ts';
import { drawVolume } from './random-cluster.ts';
import { drive, node } from './build.ts';

const STEP_MS = 60_000;
const STEPS = 60;
/** In which everything must have come to rest once all is well. */
const REST_STEPS = 200;
const REBUILDS_MAX = 3;

/** Throws `Violation`. What happened is counted in `counts`. */
export function runRepairs(seed: number, counts: Map<string, number>): void {
  const world = new World(new Prng(seed), counts);
  for (let step = 0; step < STEPS; step++) {
    world.disturb();
    world.repair();
  }
  world.heal();
  for (let step = 0; step < REST_STEPS; step++) {
    if (world.repair() === 0) {
      world.checkRest();
      return;
    }
  }
  throw new Violation('rest', 'there is always more to repair');
}

class World {
  readonly #random: Prng;
  readonly #counts: Map<string, number>;
  #nowMs = 0;
  #cluster: Cluster;

  constructor(random: Prng, counts: Map<string, number>) {
    this.#random = random;
    this.#counts = counts;
    const nodes = Array.from({ length: 4 + random.below(6) }, (_, index) =>
      node(`${random.pick(['a', 'b', 'c'])}-${random.below(2)}-${index}`),
    );
    const drives = nodes.flatMap(({ name }) => [drive(`${name}/d`), drive(`${name}/e`)]);
    this.#cluster = new Cluster({ nodes, drives, volumes: [], overprovisionPercent: 100 });
    for (let index = 0; index < 8; index++) this.#create(`v${index}`);
  }

  disturb(): void {
    const random = this.#random;
    this.#nowMs += STEP_MS;
    const sinceMs = this.#nowMs;
    const breaks = random.chance(5) ? 40 : 4;
    const toNode = (each: Node): Node => {
      const isUp = each.liveness.kind === 'up';
      if (isUp && random.chance(breaks)) return { ...each, liveness: { kind: 'down', sinceMs } };
      if (isUp && random.chance(2)) return { ...each, liveness: { kind: 'unreachable', sinceMs } };
      if (!isUp && random.chance(12)) return { ...each, liveness: { kind: 'up' } };
      if (random.chance(96)) return each;
      const service = random.pick(['open', 'open', 'cordoned', 'draining', 'maintenance'] as const);
      return { ...each, service };
    };
    const toDrive = (each: Drive): Drive =>
      random.chance(1) ? { ...each, downSinceMs: sinceMs } : { ...each };
    this.#change(toNode, toDrive);
    for (const volume of this.#cluster.volumes) {
      if (random.chance(3)) {
        this.#cluster.put({ ...volume, replicaCount: 1 + random.below(4) });
      }
    }
  }

  heal(): void {
    this.#nowMs += GRACE_MS;
    this.#change(
      (each) => ({ ...each, service: 'open', liveness: { kind: 'up' } }),
      (each) => ({ ...each, downSinceMs: undefined }),
    );
  }

  /** Decides, looks at it, does it. Returns how much there was to do. */
  repair(): number {
    const repairs = decideRepairs(this.#cluster, {
      nowMs: this.#nowMs,
      graceMs: GRACE_MS,
      rebuildsMax: REBUILDS_MAX,
    });
    this.#checkHolds(repairs);
    const before = [...this.#cluster.volumes];
    for (const change of repairs.changes) {
      this.#count(change.kind);
      this.#cluster.put(changed(this.#volume(change.volume), change));
    }
    for (const volume of before) this.#checkVolume(volume);
    for (const { hold } of repairs.held) this.#count(`held: ${hold.kind}`);
    this.#copy(repairs);
    return repairs.changes.length + repairs.rebuilds.length;
  }

  checkRest(): void {
    const { held } = decideRepairs(this.#cluster, {
      nowMs: this.#nowMs,
      graceMs: GRACE_MS,
      rebuildsMax: REBUILDS_MAX,
    });
    for (const { volume, hold } of held) {
      if (hold.kind === 'no place' || hold.kind === 'no copy') continue;
      throw new Violation('rest', `${volume} still waits: ${hold.kind}`);
    }
    for (const volume of this.#cluster.volumes) {
      const isHeld = held.some((each) => each.volume === volume.name);
      const synced = volume.replicas.filter(({ state }) => state === 'synced');
      const { replicaCount, replicas } = volume;
      if (isHeld || (synced.length === replicaCount && replicas.length === replicaCount)) continue;
      throw new Violation('rest', `${volume.name} has ${synced.length} of ${replicaCount}`);
    }
  }

  #create(name: string): void {
    const random = this.#random;
    const drawn = drawVolume(random, name, []);
    const volume: Volume = {
      ...drawn,
      replicaCount: 1 + random.below(3),
      spread: { level: random.pick(LEVELS), isHard: random.chance(70) },
      requiredTags: [],
      forbiddenTags: [],
    };
    const placement = place(this.#cluster, volume);
    if (placement.kind === 'refused') return;
    const replicas = placement.drives.map((id): Replica => ({
      drive: id,
      state: 'synced',
      isRebuilding: false,
      leaving: undefined,
    }));
    this.#cluster.put({ ...volume, replicas });
  }

  #change(toNode: (each: Node) => Node, toDrive: (each: Drive) => Drive): void {
    this.#cluster = this.#cluster.with({
      nodes: Array.from(this.#cluster.nodes.values(), toNode),
      drives: this.#cluster.drives().map(toDrive),
    });
    // What is away misses what is written, as long as another copy takes it.
    for (const volume of this.#cluster.volumes) {
      if (this.#cluster.copiesOf(volume).length === 0) continue;
      const replicas = volume.replicas.map((replica): Replica => {
        const misses = replica.state === 'synced' && !this.#cluster.isPresent(replica);
        return misses ? { ...replica, state: 'stale' } : replica;
      });
      this.#cluster.put({ ...volume, replicas });
    }
  }

  #copy({ rebuilds }: Repairs): void {
    for (const volume of this.#cluster.volumes) {
      const replicas = volume.replicas.map((replica): Replica => {
        const runs = rebuilds.some(
          (each) => each.volume === volume.name && each.drive === replica.drive,
        );
        if (!runs) return { ...replica, isRebuilding: false };
        const isDone = this.#random.chance(40);
        return isDone
          ? { ...replica, isRebuilding: false, state: 'synced' }
          : { ...replica, isRebuilding: true };
      });
      this.#cluster.put({ ...volume, replicas });
    }
  }

  #checkHolds({ changes, rebuilds, held }: Repairs): void {
    if (rebuilds.length > REBUILDS_MAX) throw new Violation('budget', `${rebuilds.length} at once`);
    const nodes = [...this.#cluster.nodes.values()];
    const away = nodes.filter(
      ({ liveness, service, name }) =>
        liveness.kind !== 'up' &&
        service !== 'maintenance' &&
        (this.#isHolding(name) || this.#nowMs <= liveness.sinceMs + GRACE_MS),
    );
    for (const change of changes) {
      if (change.kind !== 'replace') continue;
      const space = this.#cluster.spaces.get(change.drive);
      assert(space !== undefined, 'no drive is taken out here');
      const { liveness, service } = space.node;
      if (service === 'maintenance') throw new Violation('maintenance', change.drive);
      if (away.length > nodes.length / 3) throw new Violation('brake', `${away.length} are away`);
      const volume = this.#volume(change.volume);
      const copies = this.#cluster.copiesOf(volume).length;
      const sinceMs = liveness.kind === 'down' ? liveness.sinceMs : (space.drive.downSinceMs ?? 0);
      if (copies > 1 && this.#nowMs < sinceMs + GRACE_MS) {
        throw new Violation('grace', `${change.volume} has ${copies} copies`);
      }
    }
    for (const { volume, hold } of held) {
      if (hold.kind !== 'grace' || this.#cluster.copiesOf(this.#volume(volume)).length > 1)
        continue;
      throw new Violation('grace', `${volume} waits with one copy left`);
    }
    const copiesOf = rebuilds.map(({ volume }) => {
      const { replicaCount } = this.#volume(volume);
      const copies = this.#cluster.copiesOf(this.#volume(volume)).length;
      return copies < replicaCount ? copies : 9;
    });
    if (copiesOf.some((copies, index) => copies < (copiesOf[index - 1] ?? 0))) {
      throw new Violation('risk', `rebuilds of volumes with ${copiesOf.join(', ')} copies`);
    }
  }

  /** What was decided costs no copy below what is wanted, and puts no two replicas that stay into one domain. */
  #checkVolume(before: Volume): void {
    const volume = this.#volume(before.name);
    const up = (each: Volume): number =>
      this.#cluster.copiesOf(each).filter((replica) => this.#cluster.isUp(replica)).length;
    if (up(volume) < Math.min(volume.replicaCount, up(before))) {
      throw new Violation('removal', `${volume.name} has ${up(volume)} of ${up(before)} copies`);
    }
    if (!volume.spread.isHard) return;
    const shared = (each: Volume): number => {
      const domains = each.replicas
        .filter((replica) => !this.#cluster.leaves(replica))
        .map(({ drive: id }) => this.#cluster.spaces.get(id)?.domains[each.spread.level]);
      return domains.length - new Set(domains).size;
    };
    if (shared(volume) > shared(before)) {
      throw new Violation('spread', `${volume.name} has two replicas in one domain`);
    }
  }

  #isHolding(name: string): boolean {
    return [...this.#cluster.volumes].some(({ replicas }) =>
      replicas.some(
        ({ drive: id, leaving }) =>
          leaving !== 'replaced' && this.#cluster.spaces.get(id)?.node.name === name,
      ),
    );
  }

  #volume(name: string): Volume {
    const volume = this.#cluster.volume(name);
    assert(volume !== undefined, 'decisions are about volumes that there are');
    return volume;
  }

  #count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }
}

function changed(volume: Volume, change: Change): Volume {
  const mark = (on: string, leaving: Replica['leaving']): readonly Replica[] =>
    volume.replicas.map((replica) => (replica.drive === on ? { ...replica, leaving } : replica));
  const fresh = (on: string): Replica => ({
    drive: on,
    state: 'new',
    isRebuilding: false,
    leaving: undefined,
  });
  switch (change.kind) {
    case 'replace':
      return { ...volume, replicas: [...mark(change.drive, 'replaced'), fresh(change.by)] };
    case 'add':
      return { ...volume, replicas: [...volume.replicas, fresh(change.drive)] };
    case 'retire':
      return { ...volume, replicas: mark(change.drive, 'moved') };
    case 'remove':
      return {
        ...volume,
        replicas: volume.replicas.filter((replica) => replica.drive !== change.drive),
      };
    case 'readmit': {
      const replicas = mark(change.drive, undefined).map((replica) =>
        replica.drive === change.inPlaceOf ? { ...replica, leaving: 'moved' as const } : replica,
      );
      return { ...volume, replicas };
    }
  }
}
