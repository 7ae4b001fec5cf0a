/** How volumes are used: the engine counts, and once a minute what has changed is kept. */

import type { UsageRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { ControlParts } from './parts.ts';

type EngineStatus = (ids: readonly string[]) => Promise<ReadonlyMap<string, JsonObject>>;

export const USAGE_EVERY_MS = 60_000;

/** Looks at all volumes once a minute, and at its end. */
export class UsageKeeper {
  readonly #parts: Pick<ControlParts, 'records' | 'wallMs' | 'log'>;
  readonly #engineStatus: EngineStatus;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  /** When a look last saw what the engine says; before the first, when this one was made. */
  lookedAtMs: number;

  /** `engineStatus`: what the engine says of volumes, by volume id; empty while it is away. */
  constructor(parts: Pick<ControlParts, 'records' | 'wallMs' | 'log'>, engineStatus: EngineStatus) {
    this.#parts = parts;
    this.lookedAtMs = parts.wallMs();
    this.#engineStatus = engineStatus;
  }

  start(): void {
    this.#timer = setInterval(() => void this.look(), USAGE_EVERY_MS);
  }

  /** Looks a last time, so that what was written in the last minute is known, and ends. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.look();
  }

  /** Keeps what has changed since the last look. Never rejects: what fails is tried again a minute later. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() =>
      this.#look().catch((error: unknown) => {
        this.#parts.log('control.usage_lost', { error: String(error) });
      }),
    );
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { records, wallMs } = this.#parts;
    const known = await records.usages();
    const volumes = await records.volumes();
    const statuses = await this.#engineStatus(volumes.map(({ id }) => id));
    const puts = volumes.flatMap(({ id }) => {
      const before = known.get(id);
      const after = usageAfter(before, { volumeId: id, status: statuses.get(id), nowMs: wallMs() });
      return after === before || after === undefined ? [] : [{ key: `usage/${id}`, record: after }];
    });
    const trash = await records.trash();
    const there = new Set([...volumes, ...trash.map(({ volume }) => volume)].map(({ id }) => id));
    const deletes = [...known.keys()].filter((id) => !there.has(id)).map((id) => `usage/${id}`);
    await records.changeEach({ puts, deletes });
    if (statuses.size > 0 || volumes.length === 0) this.lookedAtMs = wallMs();
  }
}

/** What is known of a volume's usage after a look at it: `before` itself where nothing is new. */
export function usageAfter(
  before: UsageRecord | undefined,
  look: {
    readonly volumeId: string;
    readonly status: JsonObject | undefined;
    readonly nowMs: number;
  },
): UsageRecord | undefined {
  const { status, volumeId, nowMs } = look;
  if (status === undefined) return before;
  // Where a node has only a replica of it, another counts.
  const changes = Number(status['changes'] ?? before?.changes ?? 0);
  const countedSinceMs = Number(status['countedSinceMs'] ?? before?.countedSinceMs ?? 0);
  const allocatedBytes = Number(status['allocatedBytes'] ?? 0);
  // An engine that began anew counts from zero.
  const seen = before?.countedSinceMs === countedSinceMs ? before.changes : 0;
  const isWritten = changes > seen;
  const highWaterBytes = Math.max(before?.highWaterBytes ?? 0, allocatedBytes);
  if (!isWritten && highWaterBytes === (before?.highWaterBytes ?? 0)) return before;
  return {
    volumeId,
    lastWrittenAtMs: isWritten ? nowMs : before?.lastWrittenAtMs,
    highWaterBytes,
    changes,
    countedSinceMs,
  };
}
