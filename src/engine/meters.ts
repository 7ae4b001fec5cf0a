/** The meters of the volumes that this engine serves or served, with one replica or several. */

import type { JsonObject } from '../wire/line-protocol.ts';
import { formatUuid } from '../model/ids.ts';
import { Meter, OPERATION_KINDS } from './meter.ts';

/** Meters of one answer: 2 KiB each where all numbers are long. */
const METERS_COUNT_MAX = 24;

export class Meters {
  /** By volume's uuid (32 digits). */
  readonly #meters = new Map<string, Meter>();

  /** That of a volume, begun where there is none. */
  of(uuid: string): Meter {
    const meter = this.#meters.get(uuid) ?? new Meter();
    this.#meters.set(uuid, meter);
    return meter;
  }

  /** Undefined: the volume was not served. */
  find(uuid: string): Meter | undefined {
    return this.#meters.get(uuid);
  }

  delete(uuid: string): void {
    this.#meters.delete(uuid);
  }

  /** What clients asked of each volume, in order of uuid, from the one after `after`; at most {@link METERS_COUNT_MAX}. */
  page(after: string): JsonObject {
    const all = [...this.#meters].filter(([uuid]) => uuid > after);
    const page = all.toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, METERS_COUNT_MAX);
    const meters = page.map(([uuid, meter]) => ({
      uuid: formatUuid(uuid),
      inFlight: meter.inFlight,
      ...Object.fromEntries(OPERATION_KINDS.map((kind) => [kind, meter.counts(kind)])),
    }));
    return { meters, more: all.length > page.length };
  }
}
