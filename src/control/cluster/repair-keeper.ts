/**
 * Keeps the replicas of the cluster's volumes as many and as far apart as is wanted of them: does what src/placement decides (docs/placement.md,
 * "Repairs"). One node at a time, the first by name that lives; two for a moment do no harm, since each change is conditional on what it was decided on.
 */

import type { ReplicaRecord } from '../../model/records.ts';
import { type Change, GRACE_MS, type Repairs, decideRepairs } from '../../placement/repairs.ts';
import type { ControlParts } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { isConflict } from '../conflicts.ts';
import type { Nodes } from './nodes.ts';
import { clusterOf } from './placing.ts';
import type { RecordWatch } from './record-watch.ts';

/** Copies at a time, in the whole cluster. */
const REBUILDS_MAX = 4;
/** After a change, so that several are looked at together. */
const SETTLE_MS = 200;
/** A grace ends without a change of any record. */
const LOOK_EVERY_MS = 5000;

export class RepairKeeper {
  readonly #parts: ControlParts;
  readonly #nodes: Nodes;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #looking: Promise<void> = Promise.resolve();
  #isEnding = false;

  constructor(parts: ControlParts, uses: { readonly nodes: Nodes; readonly watch: RecordWatch }) {
    this.#parts = parts;
    this.#nodes = uses.nodes;
    uses.watch.onChange((key) => {
      if (key === undefined || /^(node|alive|drive|replica|set|volume)\//.test(key))
        this.#lookIn(SETTLE_MS);
    });
  }

  start(): void {
    this.#lookIn(SETTLE_MS);
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  #lookIn(ms: number): void {
    const dueMs = performance.now() + ms;
    // A look that comes sooner will see it.
    if (this.#isEnding || (this.#timer !== undefined && this.#dueMs <= dueMs)) return;
    clearTimeout(this.#timer);
    this.#dueMs = dueMs;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#looking = this.#looking
        .then(() => this.look())
        .catch((error: unknown) => {
          this.#parts.log('cluster.put_off', { error: String(error) });
        })
        .finally(() => this.#lookIn(LOOK_EVERY_MS));
    }, ms);
  }

  /** Decides, and does it, if it is this node's turn. */
  async look(): Promise<void> {
    if (!(await this.#nodes.isFirst())) return;
    const cluster = await clusterOf(this.#parts.records, this.#nodes);
    const repairs = decideRepairs(cluster, {
      nowMs: this.#nodes.nowMs(),
      graceMs: GRACE_MS,
      rebuildsMax: REBUILDS_MAX,
    });
    for (const change of repairs.changes) {
      try {
        await this.#apply(change);
      } catch (error) {
        // Decided on what is no longer so: the change that came first has it decided anew.
        if (!isConflict(error)) throw error;
      }
    }
    await this.#admit(repairs);
  }

  async #apply(change: Change): Promise<void> {
    const volume = await this.#parts.records.volume(change.volume);
    if (volume?.record.state !== 'ready') return;
    const replicas = (await this.#parts.records.replicas()).filter(
      ({ volumeId, state }) => volumeId === volume.record.id && state !== 'removing',
    );
    const on = async (drive: string): Promise<Kept<ReplicaRecord> | undefined> => {
      const found = replicas.find((replica) => replica.drive === drive);
      return found === undefined ? undefined : this.#parts.records.replica(found.id);
    };
    switch (change.kind) {
      case 'add':
        return this.#put([], await this.#newReplica(volume.record, change.drive));
      case 'replace':
        return this.#put(
          [marked(await on(change.drive), 'replaced')],
          await this.#newReplica(volume.record, change.by),
        );
      case 'readmit':
        return this.#put([
          marked(await on(change.drive), undefined),
          marked(await on(change.inPlaceOf), 'moved'),
        ]);
      case 'retire':
        return this.#put([marked(await on(change.drive), 'moved')]);
      case 'remove':
        return this.#remove(await on(change.drive));
    }
  }

  async #newReplica(
    {
      name,
      id: volumeId,
      sizeBytes,
    }: { readonly name: string; readonly id: string; readonly sizeBytes: number },
    drive: string,
  ): Promise<ReplicaRecord | undefined> {
    const node = (await this.#parts.records.drive(drive))?.record.node;
    if (node === undefined) return undefined;
    const id = this.#parts.newAttachId();
    return { id, volume: name, volumeId, node, drive, sizeBytes, state: 'creating', isNew: true };
  }

  async #put(
    changed: readonly (Kept<ReplicaRecord> | undefined)[],
    added?: ReplicaRecord,
  ): Promise<void> {
    const present = changed.filter((each) => each !== undefined);
    if (present.length < changed.length) return;
    await this.#parts.records.change({
      conditions: present.map(({ record, version }) => ({ key: `replica/${record.id}`, version })),
      puts: [...present.map(({ record }) => record), ...(added === undefined ? [] : [added])].map(
        (record) => ({ key: `replica/${record.id}`, record }),
      ),
    });
  }

  /** Its node erases it; a head whose member it was goes on without, as with one that is gone. */
  async #remove(kept: Kept<ReplicaRecord> | undefined): Promise<void> {
    if (kept === undefined) return;
    await this.#put([{ ...kept, record: { ...kept.record, state: 'removing' } }]);
  }

  /** Says of each replica that lacks something whether it is its turn to be filled, and of each that lacks nothing any more that it is new no longer. */
  async #admit({ rebuilds }: Repairs): Promise<void> {
    const { records } = this.#parts;
    const due = new Set(rebuilds.map(({ volume, drive }) => `${volume} on ${drive}`));
    for (const replica of await records.replicas()) {
      if (replica.state !== 'ready') continue;
      const isMember = (await records.membersOf(replica.volumeId)).has(replica.id);
      const isDue = !isMember && due.has(`${replica.volume} on ${replica.drive}`);
      const isNew = replica.isNew === true && !isMember;
      if (isDue === (replica.isDue ?? false) && isNew === (replica.isNew ?? false)) continue;
      const kept = await records.replica(replica.id);
      if (kept?.record.state !== 'ready') continue;
      try {
        await this.#put([{ ...kept, record: { ...kept.record, isDue, isNew } }]);
      } catch (error) {
        if (!isConflict(error)) throw error;
      }
    }
  }
}

function marked(
  kept: Kept<ReplicaRecord> | undefined,
  leaving: ReplicaRecord['leaving'],
): Kept<ReplicaRecord> | undefined {
  return kept && { ...kept, record: { ...kept.record, leaving } };
}
