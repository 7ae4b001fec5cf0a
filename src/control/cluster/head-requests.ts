/**
 * What the heads of this node's engine ask for: transactions on their sets, which are carried out here, and what is left to do where one of
 * them ended.
 */

import { Fault, Refusal } from '../../model/errors.ts';
import { recordJson, recordOfJson } from '../../peer/record-json.ts';
import type { HeadEnd } from '../../replication/head-host.ts';
import { type Record as SetRecord, isNewer, isSame } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { type ControlParts, tell } from '../parts.ts';
import type { Kept } from '../records-store.ts';
import type { HeadKeeper } from './head-keeper.ts';
import { clearOvertaken } from './overtaken.ts';
import { putSet } from './put-set.ts';

/** While store or engine are away. */
const RETRY_MS = 250;

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

export class HeadRequests {
  readonly #parts: ControlParts;
  readonly #node: string;
  readonly #heads: Pick<HeadKeeper, 'serve' | 'tending'>;
  readonly #onSetChange: () => void;
  /** Attach ids of heads that ended, while that is seen to. */
  readonly #ended = new Set<string>();
  #isEnding = false;

  /** `onSetChange`: a head has changed which replicas a volume has in sync. */
  constructor(
    parts: ControlParts,
    uses: {
      readonly node: string;
      readonly heads: Pick<HeadKeeper, 'serve' | 'tending'>;
      readonly onSetChange: () => void;
    },
  ) {
    this.#parts = parts;
    this.#node = uses.node;
    this.#heads = uses.heads;
    this.#onSetChange = uses.onSetChange;
  }

  /** Carries them out until {@link stop}. */
  start(): void {
    void this.#serveHeads();
  }

  stop(): void {
    this.#isEnding = true;
  }

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
    const { writer } = after;
    for (;;) {
      const kept = await records.set(uuid);
      if (kept?.record.writer === writer) {
        await engine.call('head.outcome', { uuid, writer, kind: 'committed' });
        return;
      }
      if (kept !== undefined && isNewer(before, kept.record)) {
        if (!(await this.#isPutBack(uuid, before, kept))) {
          await engine.call('head.outcome', { uuid, writer, kind: 'unknown' });
          return;
        }
        continue;
      }
      if (kept === undefined || !isSame(kept.record, before)) {
        const record = kept === undefined ? {} : { record: recordJson(kept.record) };
        await engine.call('head.outcome', { uuid, writer, kind: 'conflict', ...record });
        return;
      }
      await putSet(records, uuid, { kept, next: after });
    }
  }

  /**
   * Puts back what a head knows where the records are older, since they were restored from a backup (design.md, section 3, rule 13): the head
   * goes on. False: some replica may know of a newer one, whose node has not said so yet; the head asks again.
   */
  async #isPutBack(uuid: string, known: SetRecord, kept: Kept<SetRecord>): Promise<boolean> {
    const { records } = this.#parts;
    if ((await records.unreported()).length > 0) return false;
    await putSet(records, uuid, { kept, next: known });
    return true;
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
      if (end !== 'detached' && !isServedAnew && !this.#heads.tending.has(attachId)) {
        await clearOvertaken(this.#parts, attachId);
        await this.#tellEnded(name ?? uuid, end);
      }
      await engine.call('head.detach', { uuid, attachId });
      this.#heads.tending.delete(attachId);
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
      if (attachment.state !== 'detaching') await this.#heads.serve(volume, attachment);
    });
  }

  async #tellEnded(name: string, end: keyof typeof CAUSES): Promise<void> {
    const subject = `volume/${name}` as const;
    const what = `Volume "${name}" is no longer served by node "${this.#node}"`;
    await tell(this.#parts, 'volume.head_ended', { subject, what, cause: CAUSES[end] });
    this.#parts.askReconcile();
  }
}
