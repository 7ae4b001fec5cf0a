/**
 * What a node's engine says of its replicas, held against the records: a record that a replica was shown and that the store does not have came
 * from a store that lost it, and is put back (design.md, section 3, rule 13); a replica that a drive no longer holds is given up.
 */

import { Refusal } from '../../model/errors.ts';
import { recordOfJson, recordJson } from '../../peer/record-json.ts';
import { type Record as SetRecord, isNewer } from '../../replication/record.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { decideAgain } from '../conflicts.ts';
import type { LineClient } from '../line-client.ts';
import { type ControlParts, tell } from '../parts.ts';

/** A replica's life, and the newest record that it was shown. */
export type Reported = {
  readonly id: string;
  readonly life: number;
  readonly seen: SetRecord | undefined;
};

/** What an engine says of its replicas, from the one after `after` on. */
async function askFrom(
  engine: LineClient,
  after: string | undefined,
): Promise<{ readonly reported: readonly Reported[]; readonly more: boolean }> {
  const answer = await engine.call('replica.list', after === undefined ? {} : { after });
  const reported = (answer['replicas'] as readonly JsonObject[]).map(
    ({ replica, life, record }) => ({
      id: String(replica),
      life: Number(life),
      seen: record === undefined ? undefined : recordOfJson(record),
    }),
  );
  return { reported, more: answer['more'] === true };
}

/** Of all its replicas. */
async function reportsOf(engine: LineClient): Promise<readonly Reported[]> {
  const all: Reported[] = [];
  for (;;) {
    const { reported, more } = await askFrom(engine, all.at(-1)?.id);
    all.push(...reported);
    if (!more) return all;
  }
}

/** Of one; undefined: it is not open here. */
export async function reportOf(engine: LineClient, id: string): Promise<Reported | undefined> {
  return (await reportsOf(engine)).find((each) => each.id === id);
}

export class ReplicaReport {
  readonly #parts: ControlParts;
  readonly #node: string;
  /** Told of once. */
  readonly #strays = new Set<string>();

  constructor(parts: ControlParts, node: string) {
    this.#parts = parts;
    this.#node = node;
  }

  /** To be called when the engine was met, before any head is started here. */
  async run(): Promise<void> {
    const reported = await reportsOf(this.#parts.engine);
    for (const { id, seen } of reported) await this.#compare(id, seen);
    await this.#giveUpLost(new Set(reported.map(({ id }) => id)));
    await decideAgain(() => this.#parts.records.putReported(this.#node));
  }

  async #compare(replica: string, seen: SetRecord | undefined): Promise<void> {
    const { records } = this.#parts;
    const kept = await records.replica(replica);
    if (kept === undefined) {
      await this.#tellStray(replica);
      return;
    }
    const { volume, volumeId } = kept.record;
    await decideAgain(async () => {
      const set = await records.set(volumeId);
      if (set === undefined || seen === undefined || !isNewer(seen, set.record)) return;
      const key = `set/${volumeId}`;
      await records.change({
        conditions: [{ key, version: set.version }],
        puts: [{ key, record: recordJson(seen) }],
      });
      await tell(this.#parts, 'volume.set_restored', {
        subject: `volume/${volume}`,
        what: `The set of volume "${volume}" is again that of epoch ${seen.epoch}, which its replica on node "${this.#node}" knew`,
        cause: `the records had one of epoch ${set.record.epoch}: they are older`,
      });
    });
  }

  /** It is nobody's to delete: the records may be those of an older time. */
  async #tellStray(replica: string): Promise<void> {
    if (this.#strays.has(replica)) return;
    this.#strays.add(replica);
    await tell(this.#parts, 'replica.stray', {
      subject: `process/engine`,
      what: `A drive of node "${this.#node}" holds replica ${replica}, of which the records know nothing`,
      cause: 'the records are older than it, or those of another cluster; it is left as it is',
    });
  }

  /** One that cannot be read is there nevertheless. */
  async #isThere(replica: string): Promise<boolean> {
    try {
      await this.#parts.engine.call('volume.status', { uuid: replica });
      return true;
    } catch (error) {
      if (error instanceof Refusal && error.code === 'VOLUME_NOT_FOUND') return false;
      throw error;
    }
  }

  /** On a drive that is open and does not have it, it will never be again: another takes its place. Its id is not used again. */
  async #giveUpLost(present: ReadonlySet<string>): Promise<void> {
    const { records, engine } = this.#parts;
    const { drives } = await engine.call('drive.list', {});
    const open = new Set(
      (drives as readonly JsonObject[])
        .filter(({ state }) => state === 'open')
        .map(({ driveId }) => driveId),
    );
    const own = await records.drives();
    const isOpen = (name: string): boolean =>
      open.has(own.find((drive) => drive.name === name)?.id);
    for (const { id, node, state, drive } of await records.replicas()) {
      if (node !== this.#node || state !== 'ready' || present.has(id) || !isOpen(drive)) continue;
      if (await this.#isThere(id)) continue;
      await decideAgain(async () => {
        const kept = await records.replica(id);
        if (kept?.record.state !== 'ready') return;
        const key = `replica/${id}`;
        await records.change({
          conditions: [{ key, version: kept.version }],
          puts: [{ key, record: { ...kept.record, state: 'removing' } }],
        });
        await tell(this.#parts, 'replica.lost', {
          subject: `volume/${kept.record.volume}`,
          what: `Drive "${drive}" of node "${this.#node}" no longer holds its replica of volume "${kept.record.volume}"`,
          cause:
            'the drive was formatted anew, or is another; the others have what was acknowledged',
        });
      });
    }
  }
}
