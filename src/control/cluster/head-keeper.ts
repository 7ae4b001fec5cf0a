/**
 * The heads of this node's engine: starts them, carries out the transactions that they ask for, has replicas rebuilt that are not in the set,
 * and clears away those that another head has overtaken.
 */

import { recordJson, recordOfJson } from '../../peer/record-json.ts';
import type { HeadEnd } from '../../replication/head-host.ts';
import { type HeadId, attached, detached, isSame, resized } from '../../replication/record.ts';
import type { Record as SetRecord } from '../../replication/record.ts';
import { Fault, Refusal } from '../../model/errors.ts';
import type { AttachmentRecord, VolumeRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { type ControlParts, tell } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { isConflict } from '../conflicts.ts';
import { clearOvertaken } from './overtaken.ts';
import type { ThisNode } from './this-node.ts';

/** While store or engine are away. */
const RETRY_MS = 250;
/** Between two looks at volumes that lack a replica, and after a change of one. */
const REBUILD_LOOK_MS = 1000;
const SETTLE_MS = 100;

type Asked = { readonly uuid: string; readonly expected: JsonObject; readonly next: JsonObject };
type Ended = { readonly uuid: string; readonly attachId: string; readonly end: HeadEnd };

/** Why a volume is no longer served, for people. */
const CAUSES: { readonly [end in Exclude<HeadEnd, 'detached'>]: string } = {
  overtaken: 'it was attached elsewhere',
  'session lost':
    'none of its replicas is known to hold all that its client wrote: the session was ended',
  'given up': 'its requests stood still for too long, and failed: the session was ended',
};

export class HeadKeeper {
  readonly #parts: ControlParts;
  readonly #node: ThisNode;
  #isEnding = false;
  #rebuildTimer: NodeJS.Timeout | undefined;

  constructor(parts: ControlParts, node: ThisNode) {
    this.#parts = parts;
    this.#node = node;
  }

  /** Carries out what heads ask for, until {@link stop}. */
  start(): void {
    void this.#serveHeads();
  }

  stop(): void {
    this.#isEnding = true;
    clearTimeout(this.#rebuildTimer);
  }

  // --- Attachments --------------------------------------------------------------------------------------------

  /**
   * Has the engine serve a volume under an attachment of this node: a head before it is fenced by the set's record. Served already, it is so
   * still. Throws VOLUME_SESSION_OVER where the attachment was ended in the set, since what its client wrote may be lost.
   */
  async serve(volume: VolumeRecord, attachment: AttachmentRecord): Promise<JsonObject> {
    const { records, engine } = this.#parts;
    const { attachId, socketPath } = attachment;
    const start = await this.#node.meetEngine();
    for (;;) {
      const wanted = await records.volume(volume.name);
      const kept = await this.#set(volume);
      const { record } = kept;
      if (record.attachment?.attachId !== attachId) {
        // It was there, and somebody ended it.
        if (socketPath !== undefined)
          throw new Refusal('VOLUME_SESSION_OVER', { volume: volume.name });
        // Attached elsewhere by force since: that one's must not be taken away again.
        if (wanted?.record.attachment?.attachId !== attachId) {
          throw new Refusal('STORE_CONFLICT', { key: `volume/${volume.name}` });
        }
        const client = { attachId, boot: this.#parts.bootId };
        const next = attached(record, client, this.#parts.newAttachId());
        const { version } = wanted;
        await this.#put(volume.id, kept, next, [{ key: `volume/${volume.name}`, version }]);
        this.#parts.onStep('volume.attach: in the set');
        continue;
      }
      const replicas = (await records.replicas()).filter(({ volumeId }) => volumeId === volume.id);
      const local = replicas.find(({ node }) => node === this.#node.name)?.id;
      const head: HeadId = { engine: this.#node.name, start, attempt: record.epoch };
      return engine.call('head.start', {
        uuid: volume.id,
        attachId,
        record: recordJson(record),
        head,
        ...(local === undefined ? {} : { local }),
        places: Object.fromEntries(replicas.map(({ id, node }) => [id, node])),
        clientLives:
          attachment.state === 'attached' && record.attachment.boot === this.#parts.bootId,
      });
    }
  }

  /** Ends an attachment: its clients' requests are over, and durable. */
  async release(volume: VolumeRecord, { attachId }: AttachmentRecord): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid: volume.id, attachId });
    this.#parts.onStep('volume.detach: head ended');
    // There was no head: its engine has started anew, or never came so far.
    for (;;) {
      const kept = await this.#parts.records.set(volume.id);
      if (kept?.record.attachment?.attachId !== attachId) return;
      await this.#put(volume.id, kept, detached(kept.record, this.#parts.newAttachId()));
    }
  }

  /** Makes a volume larger, which is attached here or nowhere. */
  async grow(volume: VolumeRecord, sizeBytes: number): Promise<void> {
    if (volume.attachment !== undefined) {
      await this.#parts.engine.call('head.grow', { uuid: volume.id, sizeBytes });
      return;
    }
    for (;;) {
      const kept = await this.#set(volume);
      if (kept.record.sizeBytes >= sizeBytes) return;
      const next = resized(kept.record, sizeBytes, this.#parts.newAttachId());
      await this.#put(volume.id, kept, next);
    }
  }

  async #set({ id, name }: VolumeRecord): Promise<Kept<SetRecord>> {
    const kept = await this.#parts.records.set(id);
    if (kept === undefined) throw new Refusal('VOLUME_LOST', { volume: name });
    return kept;
  }

  /** Whether it was put or another came first: whoever asks looks again. */
  async #put(
    volumeId: string,
    { version }: Kept<SetRecord>,
    next: SetRecord,
    conditions: readonly { readonly key: string; readonly version: number }[] = [],
  ): Promise<void> {
    const key = `set/${volumeId}`;
    try {
      await this.#parts.records.change({
        conditions: [{ key, version }, ...conditions],
        puts: [{ key, record: recordJson(next) }],
      });
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }

  // --- What heads ask for -------------------------------------------------------------------------------------

  async #serveHeads(): Promise<void> {
    while (!this.#isEnding) {
      try {
        const news = await this.#parts.engine.call('head.next', {});
        const { transactions, ended } = news as unknown as {
          readonly transactions: readonly Asked[];
          readonly ended: readonly Ended[];
        };
        await Promise.all([
          ...transactions.map((asked) => this.#carryOut(asked)),
          ...ended.map((each) => this.#onEnded(each)),
        ]);
        if (transactions.length > 0) this.lookForRebuilds();
      } catch (error) {
        if (this.#isEnding) return;
        if (!(error instanceof Refusal || error instanceof Fault)) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** A transaction of a head. What a store that failed has made of it the next look tells. */
  async #carryOut({ uuid, expected, next }: Asked): Promise<void> {
    const { records, engine } = this.#parts;
    const [before, after] = [recordOfJson(expected), recordOfJson(next)];
    for (;;) {
      const kept = await records.set(uuid);
      const { writer } = after;
      if (kept?.record.writer === writer) {
        await engine.call('head.outcome', { uuid, writer, kind: 'committed' });
        return;
      }
      if (kept === undefined || !isSame(kept.record, before)) {
        const record = kept === undefined ? {} : { record: recordJson(kept.record) };
        await engine.call('head.outcome', { uuid, writer, kind: 'conflict', ...record });
        return;
      }
      await this.#put(uuid, kept, after);
    }
  }

  /** The engine keeps a head that ended until it is told so. */
  async #onEnded({ uuid, attachId, end }: Ended): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid, attachId });
    if (end === 'detached') return;
    await clearOvertaken(this.#parts, attachId);
    const volumes = await this.#parts.records.volumes();
    const volume = volumes.find(({ id }) => id === uuid);
    const subject = `volume/${volume?.name ?? uuid}` as const;
    const what = `Volume "${volume?.name ?? uuid}" is no longer served by node "${this.#node.name}"`;
    const cause = CAUSES[end];
    await tell(this.#parts, 'volume.head_ended', { subject, what, cause });
    this.#parts.askReconcile();
  }

  // --- Rebuilds -----------------------------------------------------------------------------------------------

  /** Looks soon, and then once a second, as long as a volume that is served here lacks one of its replicas. */
  lookForRebuilds(inMs = SETTLE_MS): void {
    if (this.#isEnding || this.#rebuildTimer !== undefined) return;
    this.#rebuildTimer = setTimeout(() => {
      void this.#rebuildMissing()
        .catch(() => true)
        .then((isLacking) => {
          this.#rebuildTimer = undefined;
          if (isLacking) this.lookForRebuilds(REBUILD_LOOK_MS);
        });
    }, inMs);
  }

  /** Has the replicas rebuilt whose turn it is, and that are not in the set of a volume that is served here. Resolves with whether one lacks still. */
  async #rebuildMissing(): Promise<boolean> {
    const { records, engine } = this.#parts;
    const replicas = Map.groupBy(await records.replicas(), ({ volumeId }) => volumeId);
    let isLacking = false;
    for (const { id, attachment } of await records.volumes()) {
      if (attachment?.node !== this.#node.name || attachment.state !== 'attached') continue;
      const members = (await records.set(id))?.record.members;
      if (members === undefined) continue;
      for (const { id: replica, node, state, isDue } of replicas.get(id) ?? []) {
        if (state !== 'ready' || members.has(replica)) continue;
        isLacking = true;
        if (isDue !== true) continue;
        await engine.call('head.rebuild', { uuid: id, replica, node }).catch((error: unknown) => {
          if (!(error instanceof Refusal || error instanceof Fault)) throw error;
        });
      }
    }
    return isLacking;
  }
}
