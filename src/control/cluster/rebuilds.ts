/**
 * Keeps the sets of volumes as they are wanted: has replicas made equal that are not in them, when it is their turn, by the head or by one for
 * the purpose; and how few of them may be left.
 */

import { Fault, Refusal } from '../../model/errors.ts';
import type { ReplicaRecord, Replication, VolumeRecord } from '../../model/records.ts';
import { defaultMinimum } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import type { HeadKeeper } from './head-keeper.ts';
import type { Nodes } from './nodes.ts';
import { type StoredVolume, storedVolumes } from './stored-volumes.ts';

/** Between two looks at volumes that lack a replica, and after a change of one. */
const LOOK_EVERY_MS = 1000;
const SETTLE_MS = 100;
/** A head that serves does what is asked of it within some store transactions. */
const ASK_MS_MAX = 1000;

export class Rebuilds {
  readonly #parts: ControlParts;
  readonly #heads: HeadKeeper;
  readonly #nodes: Nodes;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isEnding = false;

  constructor(parts: ControlParts, uses: { readonly heads: HeadKeeper; readonly nodes: Nodes }) {
    this.#parts = parts;
    this.#heads = uses.heads;
    this.#nodes = uses.nodes;
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Looks soon, and then once a second as long as a replica lacks something that is this node's to see to. */
  lookSoon(inMs: number = SETTLE_MS): void {
    if (this.#isEnding || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look()
        .catch((error: unknown) => {
          this.#parts.log('cluster.put_off', { error: String(error) });
          return true;
        })
        .then((isLacking) => {
          this.#timer = undefined;
          if (isLacking) this.lookSoon(LOOK_EVERY_MS);
        });
    }, inMs);
  }

  async #look(): Promise<boolean> {
    const { records, node } = this.#parts;
    const isFirst = await this.#nodes.isFirst();
    const sets = await records.sets();
    const lackingOf = Map.groupBy(
      (await records.replicas()).filter(
        ({ id, volumeId, state }) => state === 'ready' && !sets.isMember(volumeId, id),
      ),
      ({ volumeId }) => volumeId,
    );
    let isLacking = false;
    for (const stored of await storedVolumes(records)) {
      const { volume } = stored;
      const { id, attachment, replication } = volume;
      if (replication === undefined) continue;
      // Also while it is being attached or detached: that may stand still until it gets another replica.
      const isAttachedHere = attachment?.node === node;
      if (!isAttachedHere && attachment !== undefined) continue;
      const [known, memberCount] = [sets.minimumOf(id), sets.memberCount(id)];
      const state = { replication, known, memberCount, isAttachedHere, isFirst };
      await this.#keepMinimum(volume, state);
      const lacking = lackingOf.get(id) ?? [];
      // The set of a volume that is not attached names who tends it, also of an earlier control.
      const tended = isAttachedHere ? undefined : sets.headOf(id);
      if (lacking.length === 0 && tended === undefined) continue;
      if (!isAttachedHere && !this.#isMine(tended, isFirst)) continue;
      isLacking = true;
      const due = lacking.filter(({ isDue }) => isDue === true);
      if (!isAttachedHere) await this.#tend(stored, due, tended?.attachId);
      for (const each of due) await this.#rebuild(id, each);
    }
    return isLacking;
  }

  /** As many replicas as are wanted say how few may be in sync: more as soon as they are, fewer before one goes. */
  async #keepMinimum(
    volume: VolumeRecord,
    how: {
      readonly replication: Replication;
      readonly known: number | undefined;
      readonly memberCount: number;
      readonly isAttachedHere: boolean;
      readonly isFirst: boolean;
    },
  ): Promise<void> {
    const minimum = defaultMinimum(how.replication.count);
    const { known } = how;
    if (known === undefined || known === minimum || how.memberCount < minimum) return;
    if (how.isAttachedHere) await this.#ask('head.minimum', { uuid: volume.id, minimum });
    else if (how.isFirst) await this.#heads.setMinimum(volume, minimum);
  }

  #rebuild(uuid: string, { id: replica, node }: ReplicaRecord): Promise<void> {
    return this.#ask('head.rebuild', { uuid, replica, node });
  }

  /** A head that is not there yet, or stands still, keeps those of other volumes waiting no longer; it is asked again at the next look. */
  async #ask(call: string, args: JsonObject): Promise<void> {
    await this.#parts.engine.call(call, args, { silenceMs: ASK_MS_MAX }).catch((error: unknown) => {
      if (!(error instanceof Refusal || error instanceof Fault)) throw error;
    });
  }

  /** Who tends a volume goes on with it; else, and where that node is away, it is the first's. */
  #isMine(tended: { readonly node: string | undefined } | undefined, isFirst: boolean): boolean {
    const { node } = tended ?? {};
    if (node === this.#parts.node) return true;
    return isFirst && (node === undefined || this.#nodes.liveness(node).kind === 'down');
  }

  /** Starts a head for a volume that nobody uses, keeps it, and ends it when it has nothing more to do. `known`: there is one. */
  async #tend(
    stored: StoredVolume,
    due: readonly ReplicaRecord[],
    known: string | undefined,
  ): Promise<void> {
    if (due.length === 0 && known === undefined) return;
    await this.#parts.turnstile.enter(stored.key, async () => {
      try {
        if (due.length === 0) {
          await this.#heads.endTending(stored, known ?? '');
          return;
        }
        const attachId = known ?? this.#parts.newAttachId();
        await this.#heads.tend(stored, { attachId, isNew: known === undefined });
      } catch (error) {
        // Somebody has attached it.
        if (!(error instanceof Refusal || error instanceof Fault)) throw error;
      }
    });
  }
}
