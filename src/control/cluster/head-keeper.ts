/**
 * The heads of this node's engine: starts them, carries out the transactions that they ask for, and clears away those that another head has
 * overtaken.
 */

import { recordJson, recordOfJson } from '../../peer/record-json.ts';
import type { HeadEnd } from '../../replication/head-host.ts';
import {
  type HeadId,
  attached,
  detached,
  isSame,
  resized,
  withMinimum,
  isNewer,
  lossAccepted,
} from '../../replication/record.ts';
import type { Record as SetRecord } from '../../replication/record.ts';
import { Fault, Refusal } from '../../model/errors.ts';
import type { AttachmentRecord, VolumeRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { type ControlParts, tell } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import { isConflict } from '../conflicts.ts';
import { clearOvertaken } from './overtaken.ts';
import { reportOf } from './replica-report.ts';
import type { ThisNode } from './this-node.ts';

/** While store or engine are away. */
const RETRY_MS = 250;

type Service = {
  readonly attachId: string;
  /** Whether it is still to be served so. */
  readonly isWanted: (volume: VolumeRecord) => boolean;
  /** It may not have been in the set yet; one that was, and is not, has been ended. */
  readonly isNew: boolean;
  /** Whether who uses it can have outlived the head before. */
  readonly clientMayLive: boolean;
  readonly acceptLoss?: boolean;
};

type Asked = { readonly uuid: string; readonly expected: JsonObject; readonly next: JsonObject };
type Ended = { readonly uuid: string; readonly attachId: string; readonly end: HeadEnd };

/** Why a volume is no longer served, for people. */
const CAUSES: { readonly [end in Exclude<HeadEnd, 'detached'>]: string } = {
  overtaken: 'it was attached elsewhere',
  'session lost':
    'none of its replicas is known to hold all that its client wrote: the session was ended',
  'given up':
    'its requests stood still for too long, or it was detached by force: they failed, and the session was ended',
};

export class HeadKeeper {
  readonly #parts: ControlParts;
  readonly #node: ThisNode;
  #isEnding = false;
  readonly #onSetChange: () => void;
  /** Attach ids of heads that serve nobody. */
  readonly #tending = new Set<string>();
  /** Attach ids of heads that ended, while that is seen to. */
  readonly #ended = new Set<string>();

  /** `onSetChange`: a head has changed which replicas a volume has in sync. */
  constructor(parts: ControlParts, node: ThisNode, onSetChange: () => void) {
    this.#parts = parts;
    this.#node = node;
    this.#onSetChange = onSetChange;
  }

  /** Carries out what heads ask for, until {@link stop}. */
  start(): void {
    void this.#serveHeads();
  }

  stop(): void {
    this.#isEnding = true;
  }

  // --- Attachments --------------------------------------------------------------------------------------------

  /**
   * Has the engine serve a volume under an attachment of this node: a head before it is fenced by the set's record. Served already, it is so
   * still. Throws VOLUME_SESSION_OVER where the attachment was ended in the set, since what its client wrote may be lost.
   */
  serve(
    { name }: VolumeRecord,
    { attachId, socketPath, state, acceptLoss = false }: AttachmentRecord,
  ): Promise<JsonObject> {
    return this.#serve(name, {
      attachId,
      isWanted: (volume) => volume.attachment?.attachId === attachId,
      isNew: socketPath === undefined,
      clientMayLive: state === 'attached',
      acceptLoss,
    });
  }

  /** The same for nobody: a head that makes replicas equal while the volume is not attached. Whoever attaches it takes it over. */
  tend(
    { name }: VolumeRecord,
    tending: { readonly attachId: string; readonly isNew: boolean },
  ): Promise<JsonObject> {
    this.#tending.add(tending.attachId);
    return this.#serve(name, {
      ...tending,
      isWanted: (volume) => volume.attachment === undefined && volume.state === 'ready',
      clientMayLive: false,
    });
  }

  async #serve(name: string, how: Service): Promise<JsonObject> {
    const { records, engine, bootId } = this.#parts;
    const { attachId } = how;
    let clientLives = how.clientMayLive;
    const start = await this.#node.meetEngine();
    const unreported = await records.unreported();
    if (unreported.length > 0) {
      throw new Refusal('NODES_UNREPORTED', { volume: name, nodes: unreported.join(', ') });
    }
    for (;;) {
      const key = `volume/${name}`;
      const wanted = await records.volume(name);
      // Attached elsewhere by force since: that one's must not be taken away again.
      if (wanted === undefined || !how.isWanted(wanted.record)) {
        throw new Refusal('STORE_CONFLICT', { key });
      }
      const { record: volume, version } = wanted;
      const kept = await this.#set(volume);
      const { record } = kept;
      const isAnother = record.attachment?.attachId !== attachId;
      if (isAnother && !how.isNew) throw new Refusal('VOLUME_SESSION_OVER', { volume: name });
      if (isAnother || record.attachment?.boot !== bootId) {
        // Who used it in an earlier run of the machine is gone; whoever does in this one must not be taken for gone.
        clientLives = false;
        const isLossAccepted = isAnother && how.acceptLoss === true;
        const from = isLossAccepted ? await this.#lossAccepted(volume, record) : record;
        const next = attached(from, { attachId, boot: bootId }, this.#parts.newAttachId());
        await this.#put(volume.id, kept, next, [{ key, version }]);
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
        clientLives,
      });
    }
  }

  /** The record of a new lineage, whose set is the replica on this node as it is: rule 13 of design.md, section 3. */
  async #lossAccepted(volume: VolumeRecord, record: SetRecord): Promise<SetRecord> {
    const replicas = await this.#parts.records.replicas();
    const local = replicas.find(
      ({ volumeId, node, state }) =>
        volumeId === volume.id && node === this.#node.name && state === 'ready',
    );
    const report = local && (await reportOf(this.#parts.engine, local.id));
    if (report === undefined) {
      const problem = `the replica of volume "${volume.name}" here is not open`;
      throw new Refusal('REPLICAS_INVALID', { wanted: 'the replica here', problem });
    }
    const { id: replica, life, seen } = report;
    const newest = seen !== undefined && isNewer(seen, record) ? seen : record;
    const random = Number.parseInt(this.#parts.newAttachId().slice(0, 8), 16);
    const next = lossAccepted(newest, {
      replica,
      life,
      lineage: newest.lineage + 1 + random,
      writer: this.#parts.newAttachId(),
    });
    await tell(this.#parts, 'volume.loss_accepted', {
      subject: `volume/${volume.name}`,
      what: `Volume "${volume.name}" is served from its replica on node "${this.#node.name}" as it is`,
      cause: 'an operator accepted the loss of what that lacks; all others are made anew from it',
    });
    return next;
  }

  /** Ends an attachment: its clients' requests are over, and durable. */
  async release(
    volume: VolumeRecord,
    { attachId }: Pick<AttachmentRecord, 'attachId'>,
  ): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid: volume.id, attachId });
    this.#parts.onStep('volume.detach: head ended');
    // There was no head: its engine has started anew, or never came so far.
    for (;;) {
      const kept = await this.#parts.records.set(volume.id);
      if (kept?.record.attachment?.attachId !== attachId) return;
      await this.#put(volume.id, kept, detached(kept.record, this.#parts.newAttachId()));
    }
  }

  /** Ends a head of this node at once: what its clients still want fails, and nothing is flushed. {@link release} follows. */
  async end({ id: uuid }: VolumeRecord, { attachId }: AttachmentRecord): Promise<void> {
    await this.#parts.engine.call('head.detach', { uuid, attachId, force: true });
  }

  /** Ends a head that tends a volume. One that stands still is left: it cannot end in order, and whoever attaches the volume overtakes it. */
  async endTending({ name, id }: VolumeRecord, attachId: string): Promise<void> {
    const { records, engine } = this.#parts;
    const head = await engine.call('head.status', { uuid: id }).catch((error: unknown) => {
      if (error instanceof Refusal && error.code === 'VOLUME_NOT_ATTACHED') return undefined;
      throw error;
    });
    if (head?.['attachId'] === attachId) {
      if (head['state'] !== 'serving' || head['stalled'] !== null) return;
      await engine.call('head.detach', { uuid: id, attachId });
    }
    // There was none: its engine has started anew, or it is another's, and away.
    const [volume, kept] = [await records.volume(name), await records.set(id)];
    if (volume === undefined || volume.record.attachment !== undefined) return;
    if (kept?.record.attachment?.attachId !== attachId) return;
    await this.#put(id, kept, detached(kept.record, this.#parts.newAttachId()), [
      { key: `volume/${name}`, version: volume.version },
    ]);
  }

  /** Makes a volume larger, which is attached here or nowhere. */
  async grow({ name, id, attachment }: VolumeRecord, sizeBytes: number): Promise<void> {
    const { records, engine, newAttachId } = this.#parts;
    if (attachment !== undefined) {
      await engine.call('head.grow', { uuid: id, sizeBytes });
      return;
    }
    for (;;) {
      const key = `volume/${name}`;
      const volume = await records.volume(name);
      // Attached since: who has it must not be taken for one that tends it.
      if (volume === undefined || volume.record.attachment !== undefined) {
        throw new Refusal('STORE_CONFLICT', { key });
      }
      const kept = await this.#set(volume.record);
      const { record } = kept;
      if (record.sizeBytes >= sizeBytes) return;
      const writer = newAttachId();
      // One that tends it is overtaken.
      const isTended = record.attachment !== undefined;
      const next = isTended ? detached(record, writer) : resized(record, sizeBytes, writer);
      await this.#put(id, kept, next, [{ key, version: volume.version }]);
    }
  }

  /** S of a volume that is not attached is to have so many members, which it has. */
  async setMinimum(volume: VolumeRecord, minimum: number): Promise<void> {
    const kept = await this.#set(volume);
    const { record } = kept;
    // One that is tended has a head, which is asked once more when it is gone.
    if (record.attachment !== undefined || record.members.size < minimum) return;
    await this.#put(volume.id, kept, withMinimum(record, minimum, this.#parts.newAttachId()));
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
    // What an earlier control was told of, and what got lost.
    let again = true;
    while (!this.#isEnding) {
      try {
        const news = await this.#parts.engine.call('head.next', { again });
        again = false;
        const { transactions, ended } = news as unknown as {
          readonly transactions: readonly Asked[];
          readonly ended: readonly Ended[];
        };
        // Programs may be in the way of it: other volumes do not wait for that.
        for (const each of ended) void this.#onEnded(each);
        await Promise.all(transactions.map((asked) => this.#carryOut(asked)));
        if (transactions.length > 0) this.#onSetChange();
      } catch (error) {
        if (this.#isEnding) return;
        if (!(error instanceof Refusal || error instanceof Fault)) throw error;
        again = true;
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

  /** Does what is to be done about a head that ended, until it is done: the engine keeps it so long. */
  async #onEnded(ended: Ended): Promise<void> {
    const { attachId } = ended;
    if (this.#ended.has(attachId)) return;
    this.#ended.add(attachId);
    try {
      while (!this.#isEnding && !(await this.#clear(ended))) {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    } finally {
      this.#ended.delete(attachId);
    }
  }

  /** False: a process that is needed for it is away. */
  async #clear({ uuid, attachId, end }: Ended): Promise<boolean> {
    const { engine, records } = this.#parts;
    try {
      const name = (await records.volumes()).find(({ id }) => id === uuid)?.name;
      const isServedAnew =
        end === 'overtaken' && name !== undefined && (await this.#isStillWanted(name, attachId));
      if (end !== 'detached' && !isServedAnew && !this.#tending.has(attachId)) {
        await clearOvertaken(this.#parts, attachId);
        await this.#tellEnded(name ?? uuid, end);
      }
      await engine.call('head.detach', { uuid, attachId });
      this.#tending.delete(attachId);
      if (isServedAnew) await this.#serveAnew(name, attachId);
      return true;
    } catch (error) {
      if (!(error instanceof Refusal || error instanceof Fault)) throw error;
      return false;
    }
  }

  /**
   * Whether records and set name the attachment nevertheless, the set with a record that came after the head's: of an earlier start of this
   * engine, whose transaction was still on its way as this head was started.
   */
  async #isStillWanted(name: string, attachId: string): Promise<boolean> {
    const { engine, records } = this.#parts;
    const volume = (await records.volume(name))?.record;
    if (volume?.attachment?.attachId !== attachId) return false;
    const set = (await records.set(volume.id))?.record;
    if (set?.attachment?.attachId !== attachId) return false;
    const head = await engine.call('head.status', { uuid: volume.id }).catch((error: unknown) => {
      if (error instanceof Refusal && error.code === 'VOLUME_NOT_ATTACHED') return undefined;
      throw error;
    });
    // The engine has started anew since.
    return head === undefined || set.epoch > Number(head['epoch']);
  }

  /** Its client is there all the time, and connects again. */
  async #serveAnew(name: string, attachId: string): Promise<void> {
    await this.#parts.turnstile.enter(`volume/${name}`, async () => {
      const volume = (await this.#parts.records.volume(name))?.record;
      const attachment = volume?.attachment;
      if (volume === undefined || attachment?.attachId !== attachId) return;
      if (attachment.state !== 'detaching') await this.serve(volume, attachment);
    });
  }

  async #tellEnded(name: string, end: keyof typeof CAUSES): Promise<void> {
    const subject = `volume/${name}` as const;
    const what = `Volume "${name}" is no longer served by node "${this.#node.name}"`;
    await tell(this.#parts, 'volume.head_ended', { subject, what, cause: CAUSES[end] });
    this.#parts.askReconcile();
  }
}
