/**
 * Has the volumes that are attached here scrubbed: all copies compared and repaired (docs/replication.md, "Scrub"), one volume at a time, each
 * within some days. How far a walk is, is kept, so that it goes on after a restart and on another node.
 */

import { Refusal } from '../../model/errors.ts';
import type { ScrubRecord, VolumeRecord } from '../../model/records.ts';
import { decideAgain } from '../conflicts.ts';
import { type ControlParts, tell } from '../parts.ts';

/** Each volume that is attached is walked through about so often. */
const EVERY_MS = 7 * 24 * 3_600_000;
const LOOK_EVERY_MS = 60_000;
/** So that clients do not notice: 1 TiB takes 15 hours. */
const BYTES_PER_SECOND = 20_000_000;

type HeadScrub = { readonly offsetBytes: number; readonly isDone: boolean };
/** Extents, since the head started. */
export type CopyCounts = {
  readonly repaired: number;
  readonly differed: number;
  readonly unreadable: number;
};

export class ScrubKeeper {
  readonly #parts: ControlParts;
  /** What was told of last, by attach id. */
  readonly #told = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: ControlParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#looking = this.#looking.then(() =>
        this.look().catch((error: unknown) => {
          this.#parts.log('cluster.put_off', { error: String(error) });
        }),
      );
    }, LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Notes how far each walk is, and starts the next. */
  async look(): Promise<void> {
    const { records, node, wallMs } = this.#parts;
    const here = (await records.volumes()).filter(
      ({ replication, attachment }) =>
        replication !== undefined && attachment?.state === 'attached' && attachment.node === node,
    );
    let isBusy = false;
    const waiting: { readonly volume: VolumeRecord; readonly scrub: ScrubRecord | undefined }[] =
      [];
    for (const volume of here) {
      const head = await this.#status(volume.id).catch(() => undefined);
      if (head === undefined) continue;
      await this.#tellRepairs(volume, head.copies);
      const scrub = await records.scrub(volume.id);
      if (head.scrub !== undefined && scrub?.endedAtMs === undefined) {
        await this.#note(volume.id, head.scrub);
        isBusy ||= !head.scrub.isDone;
      } else if (head.scrub === undefined || head.scrub.isDone) waiting.push({ volume, scrub });
    }
    if (isBusy) return;
    const next = waiting.find(
      ({ volume, scrub }) =>
        (scrub !== undefined && scrub.endedAtMs === undefined) ||
        wallMs() - (scrub?.endedAtMs ?? volume.createdAtMs) > EVERY_MS,
    );
    if (next !== undefined) await this.#begin(next.volume.id, next.scrub);
  }

  /** Walks through a volume now. One that is under way goes on. Throws VOLUME_NOT_ATTACHED, VOLUME_ELSEWHERE. */
  async scrub(volume: VolumeRecord): Promise<void> {
    const { attachment, name } = volume;
    if (attachment?.state !== 'attached') {
      throw new Refusal('VOLUME_NOT_ATTACHED', { volume: name });
    }
    const { node = '' } = attachment;
    if (node !== this.#parts.node) {
      throw new Refusal('VOLUME_ELSEWHERE', { action: 'scrub', volume: name, node });
    }
    const { scrub } = await this.#status(volume.id);
    if (scrub?.isDone === false) return;
    const known = await this.#parts.records.scrub(volume.id);
    await this.#begin(volume.id, known?.endedAtMs === undefined ? known : undefined);
  }

  /** How far a volume's walk is; `copies` where its head is here. */
  async progress({ id }: VolumeRecord): Promise<{
    readonly scrub: ScrubRecord | undefined;
    readonly copies: CopyCounts | undefined;
  }> {
    const head = await this.#status(id).catch(() => undefined);
    if (head?.scrub !== undefined) await this.#note(id, head.scrub);
    return { scrub: await this.#parts.records.scrub(id), copies: head?.copies };
  }

  async #begin(volumeId: string, known: ScrubRecord | undefined): Promise<void> {
    const { records, engine, wallMs } = this.#parts;
    const offsetBytes = known?.endedAtMs === undefined ? (known?.offsetBytes ?? 0) : 0;
    const startedAtMs = offsetBytes === 0 ? wallMs() : (known?.startedAtMs ?? wallMs());
    await records.change({
      puts: [{ key: `scrub/${volumeId}`, record: { volumeId, startedAtMs, offsetBytes } }],
    });
    const bytesPerSecond = BYTES_PER_SECOND;
    await engine.call('head.scrub', { uuid: volumeId, bytesPerSecond, offsetBytes });
  }

  #note(volumeId: string, { offsetBytes, isDone }: HeadScrub): Promise<void> {
    const { records, wallMs } = this.#parts;
    return decideAgain(async () => {
      const known = await records.scrub(volumeId);
      if (known === undefined || known.endedAtMs !== undefined) return;
      if (known.offsetBytes === offsetBytes && !isDone) return;
      const ended = isDone ? { endedAtMs: wallMs() } : {};
      await records.change({
        puts: [{ key: `scrub/${volumeId}`, record: { ...known, offsetBytes, ...ended } }],
      });
    });
  }

  async #status(uuid: string): Promise<{
    readonly scrub: HeadScrub | undefined;
    readonly copies: CopyCounts;
  }> {
    const bounds = { waitMs: 1000, silenceMs: 2000 };
    const head = await this.#parts.engine.call('head.status', { uuid }, bounds);
    const scrub = head['scrub'] as HeadScrub | null;
    return { scrub: scrub ?? undefined, copies: head['copies'] as CopyCounts };
  }

  /** Once for each number. */
  async #tellRepairs({ name, attachment }: VolumeRecord, copies: CopyCounts): Promise<void> {
    const { repaired, differed, unreadable } = copies;
    if (repaired + differed + unreadable === 0) return;
    const counts = `${repaired} extents were repaired, ${differed} differed, ${unreadable} could be read nowhere`;
    const key = attachment?.attachId ?? '';
    if (this.#told.get(key) === counts) return;
    this.#told.set(key, counts);
    await tell(this.#parts, 'volume.repaired', {
      subject: `volume/${name}`,
      what: `Copies of volume "${name}" were bad: ${counts}`,
      cause: 'a drive gave other bytes than were written, or none (holdfast drive ls)',
    });
  }
}
