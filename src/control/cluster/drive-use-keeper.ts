/**
 * Tells the cluster how full this node's drives are, and which are faulted: only the node's engine knows. Placement counts on it. And has the engine
 * close those that are another node's by now.
 */

import type { DriveRecord, DriveUseRecord } from '../../model/records.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';

const LOOK_EVERY_MS = 10_000;
/** Of a drive's capacity: a smaller change of what is used is no news. */
const NEWS_RATIO = 0.01;

export class DriveUseKeeper {
  readonly #parts: Pick<ControlParts, 'records' | 'engine' | 'log' | 'wallMs'>;
  readonly #node: string;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isEnding = false;

  constructor(parts: Pick<ControlParts, 'records' | 'engine' | 'log' | 'wallMs'>, node: string) {
    this.#parts = parts;
    this.#node = node;
  }

  /** Looks now and every few seconds, until `stop`. */
  start(): void {
    this.#looking = this.look()
      .catch((error: unknown) => this.#parts.log('cluster.put_off', { error: String(error) }))
      .finally(() => {
        if (!this.#isEnding) this.#timer = setTimeout(() => this.start(), LOOK_EVERY_MS);
      });
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Records what is news. An engine that does not answer has none. */
  async look(): Promise<void> {
    const { records, engine } = this.#parts;
    const bounds = { waitMs: 1000, silenceMs: 2000 };
    const answer = await engine.call('drive.list', {}, bounds).catch(() => undefined);
    if (answer === undefined) return;
    const statuses = answer['drives'] as readonly JsonObject[];
    const every = await records.everyDrive();
    await this.#closeForeign(every, statuses);
    const drives = every.filter(({ node, state }) => node === this.#node && state === 'ready');
    const told = (await records.driveUses()).filter(({ node }) => node === this.#node);
    const puts = drives.flatMap((drive) => {
      const status = statuses.find(({ driveId }) => driveId === drive.id);
      const before = told.find((use) => use.drive === drive.name);
      const use = this.#useOf(drive, status, before);
      return isNews(before, use) ? [{ key: `drive-use/${drive.name}`, record: use }] : [];
    });
    const names = new Set(drives.map(({ name }) => name));
    const gone = told.filter(({ drive }) => !names.has(drive));
    await records.changeEach({ puts, deletes: gone.map(({ drive }) => `drive-use/${drive}`) });
  }

  /** What another node has adopted, this one's engine may have on its list still, or have opened again since it is back. */
  async #closeForeign(
    drives: readonly DriveRecord[],
    statuses: readonly JsonObject[],
  ): Promise<void> {
    for (const { id: driveId, node } of drives) {
      if (node === this.#node || statuses.every((status) => status['driveId'] !== driveId))
        continue;
      await this.#parts.engine.call('drive.close', { driveId }).catch((error: unknown) => {
        this.#parts.log('cluster.put_off', { error: String(error) });
      });
    }
  }

  #useOf(
    { name }: DriveRecord,
    status: JsonObject | undefined,
    before: DriveUseRecord | undefined,
  ): DriveUseRecord {
    const state = status?.['state'] === 'open' ? 'open' : 'faulted';
    const usedBytes = Number(status?.['usedBytes'] ?? before?.usedBytes ?? 0);
    const freeBytes = Number(status?.['freeBytes'] ?? before?.freeBytes ?? 0);
    const sinceMs = before?.state === state ? before.sinceMs : this.#parts.wallMs();
    const incarnation = status?.['incarnation'] ?? before?.incarnation;
    return {
      drive: name,
      node: this.#node,
      state,
      sinceMs,
      ...(incarnation === undefined ? {} : { incarnation: Number(incarnation) }),
      usedBytes,
      freeBytes,
    };
  }
}

function isNews(before: DriveUseRecord | undefined, use: DriveUseRecord): boolean {
  if (before?.state !== use.state || before.incarnation !== use.incarnation) return true;
  const capacityOf = ({ usedBytes, freeBytes }: DriveUseRecord): number => usedBytes + freeBytes;
  const leastBytes = capacityOf(use) * NEWS_RATIO;
  return (
    Math.abs(use.usedBytes - before.usedBytes) >= leastBytes ||
    Math.abs(capacityOf(use) - capacityOf(before)) >= leastBytes
  );
}
