/** What Prometheus scrapes: each scrape asks engine and records anew, and nothing is counted twice. */

import type { Registry } from '@prometheus-io/client';

import { type ProcessStats, type ProcessWatch } from '../env/node/process-watch.ts';
import type { DriveRecord, VolumeRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { type Facts, METRIC_FAMILIES, type ProcessFacts, type Sample } from './metric-families.ts';
import type { ControlParts } from './parts.ts';
import { readKept } from './status.ts';

/** Volumes with series of their own, the first by name: with some 50 each they are 100,000, and 10 MB. */
const VOLUME_SERIES_MAX = 2000;
/** Who scrapes is told that a process is away, and does not wait until it is back. */
const AT_ONCE = { waitMs: 300, silenceMs: 2000 };

export type Exposition = { readonly contentType: string; readonly text: string };

type MetricsParts = Pick<ControlParts, 'installation' | 'records' | 'engine' | 'attacher'>;

export class Metrics {
  readonly #parts: MetricsParts;
  readonly #options: { readonly version: string; readonly watch: ProcessWatch };
  /** Of the scrape under way: scrapes at the same time share one. */
  #reading: Promise<Exposition> | undefined;
  #facts: Facts | undefined;
  #registry: Registry | undefined;

  constructor(
    parts: MetricsParts,
    options: { readonly version: string; readonly watch: ProcessWatch },
  ) {
    this.#parts = parts;
    this.#options = options;
  }

  /** The metrics in Prometheus' text format. */
  read(): Promise<Exposition> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
      this.#facts = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<Exposition> {
    this.#registry ??= await this.#register();
    this.#facts = await this.#gather();
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  /** Who never scrapes does not pay for the package. */
  async #register(): Promise<Registry> {
    const { Registry } = await import('@prometheus-io/client');
    const registry = new Registry();
    for (const { name, help, type, samples } of METRIC_FAMILIES) {
      const get = async (): Promise<object> => ({
        name,
        help,
        type,
        values: this.#samples(samples),
      });
      registry.registerMetric({ name, help, type, get, reset: () => undefined } as never);
    }
    return registry;
  }

  #samples(samples: (facts: Facts) => Sample[]): Sample[] {
    return this.#facts === undefined ? [] : samples(this.#facts);
  }

  async #gather(): Promise<Facts> {
    const { engine, records } = this.#parts;
    const [hello, stats, driveList, statuses, meters] = await Promise.all([
      engine.call('hello', { protocol: 1 }, AT_ONCE).catch(() => undefined),
      engine.call('stats', {}, AT_ONCE).catch(() => undefined),
      engine.call('drive.list', {}, AT_ONCE).catch(() => undefined),
      this.#pages('volume.list', 'volumes'),
      this.#pages('volume.meters', 'meters'),
    ]);
    const volumes: readonly VolumeRecord[] = await records.volumes();
    const drives: DriveRecord[] = await records.drives();
    const driveStatuses = (driveList?.['drives'] ?? []) as readonly JsonObject[];
    const trash = await records.trash();
    const operations = await records.operations();
    const io = hello?.['io'] as JsonObject | undefined;
    return {
      version: this.#options.version,
      ioKind: String(io?.['kind'] ?? 'unknown'),
      processes: await this.#processes(hello !== undefined, stats),
      drives: drives.map((drive) => [
        drive,
        driveStatuses.find(({ driveId }) => driveId === drive.id),
      ]),
      volumes: volumes
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
        .slice(0, VOLUME_SERIES_MAX)
        .map((record) => ({
          record,
          status: statuses.get(record.id),
          meter: meters.get(record.id),
        })),
      volumeCount: volumes.length,
      trash: {
        count: trash.length,
        allocatedBytes: trash.reduce(
          (sum, { volume: { id } }) => sum + Number(statuses.get(id)?.['allocatedBytes'] ?? 0),
          0,
        ),
      },
      operationsRunning: operations.filter(({ state }) => state === 'running').length,
    };
  }

  /** All pages of a list of the engine, by uuid. Empty while it is away. */
  async #pages(call: string, field: string): Promise<ReadonlyMap<string, JsonObject>> {
    const found = new Map<string, JsonObject>();
    let after: string | undefined;
    do {
      const args = after === undefined ? {} : { after };
      const answer = await this.#parts.engine.call(call, args, AT_ONCE).catch(() => undefined);
      const page = (answer?.[field] ?? []) as readonly JsonObject[];
      for (const each of page) found.set(String(each['uuid']), each);
      after = answer?.['more'] === true ? String(page.at(-1)?.['uuid']) : undefined;
    } while (after !== undefined);
    return found;
  }

  async #processes(
    isEngineUp: boolean,
    engineStats: JsonObject | undefined,
  ): Promise<ReadonlyMap<string, ProcessFacts>> {
    const { attacher, installation } = this.#parts;
    const isAttacherUp = await attacher.call('hello', { protocol: 1 }, AT_ONCE).then(
      () => true,
      () => false,
    );
    const kept = await readKept(installation.runDirectory);
    const facts = (
      role: string,
      up: boolean,
      stats?: Partial<ProcessStats>,
    ): [string, ProcessFacts] => {
      const { restarts = 0, startedAt = null } = kept?.[role] ?? {};
      const startedAtMs = startedAt === null ? undefined : Date.parse(startedAt);
      return [role, { up, restarts, startedAtMs, stats }];
    };
    return new Map([
      // What the engine's ProcessWatch says, over the socket.
      facts('engine', isEngineUp, engineStats as Partial<ProcessStats> | undefined),
      facts('attacher', isAttacherUp),
      facts('control', true, this.#options.watch.stats()),
    ]);
  }
}
