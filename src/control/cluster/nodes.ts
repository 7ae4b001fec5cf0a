/** Which nodes of the cluster live: each says so in the store, under a lease that its control renews. */

import type { AliveRecord } from '../../model/records.ts';
import type { Liveness } from '../../placement/model.ts';
import type { ControlParts } from '../parts.ts';
import type { RecordWatch } from './record-watch.ts';

/** A node that does not renew it for so long is taken for dead. What depends on it waits as long, and a grace (docs/placement.md). */
export const LEASE_MS = 3000;
const RENEW_MS = 1000;

export class Nodes {
  readonly #parts: ControlParts;
  readonly #node: string;
  readonly #alive = new Set<string>();
  /** When a node was first seen not to live. */
  readonly #downSince = new Map<string, number>();
  #leaseId: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #readTimer: NodeJS.Timeout | undefined;
  #isEnding = false;

  constructor(
    parts: ControlParts,
    { node, watch }: { readonly node: string; readonly watch: RecordWatch },
  ) {
    this.#parts = parts;
    this.#node = node;
    watch.onChange((key) => {
      if (key === undefined || key.startsWith('alive/') || key.startsWith('node/')) {
        void this.#readNext();
      }
    });
  }

  /** Says that this node lives, from now on. */
  async start(): Promise<void> {
    await this.#live();
    await this.#readNext();
  }

  /** The node ends in order: nobody has to wait for that to show. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#readTimer);
    const leaseId = this.#leaseId;
    if (leaseId !== undefined)
      await this.#parts.records.revokeLease(leaseId).catch(() => undefined);
  }

  /** Of the clock by which {@link liveness} tells since when, in ms. */
  nowMs(): number {
    return performance.now();
  }

  /** The time of {@link nowMs} at a time of the wall clock. */
  clockOf(wallMs: number): number {
    return this.nowMs() - Math.max(0, this.#parts.wallMs() - wallMs);
  }

  /** As far as the store has told. */
  liveness(node: string): Liveness {
    if (this.#alive.has(node)) return { kind: 'up' };
    return { kind: 'down', sinceMs: this.#downSince.get(node) ?? this.nowMs() };
  }

  /** Whether what one node has to do for all is this one's to do: of those that live its name is the first. */
  async isFirst(): Promise<boolean> {
    const nodes = await this.#parts.records.nodes();
    return nodes.find(({ name }) => this.#alive.has(name))?.name === this.#node;
  }

  async #live(): Promise<void> {
    try {
      await this.#renew();
    } catch (error) {
      // While the store is away nobody is taken for dead.
      this.#parts.log('cluster.put_off', { error: String(error) });
    }
    if (!this.#isEnding) this.#timer = setTimeout(() => void this.#live(), RENEW_MS);
  }

  async #renew(): Promise<void> {
    const { records, bootId } = this.#parts;
    if (this.#leaseId !== undefined && (await records.renewLease(this.#leaseId))) return;
    // One that is not put under it is to be put next time.
    this.#leaseId = undefined;
    const leaseId = await records.grantLease(LEASE_MS);
    const record: AliveRecord = { node: this.#node, bootId };
    await records.change({ puts: [{ key: `alive/${this.#node}`, record, leaseId }] });
    this.#leaseId = leaseId;
  }

  /** One after the other: what was read last is what holds. */
  #readNext(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#read());
    return this.#reading;
  }

  async #read(): Promise<void> {
    const { records, log } = this.#parts;
    try {
      const [nodes, alive] = [await records.nodes(), await records.alive()];
      this.#alive.clear();
      for (const { node } of alive) this.#alive.add(node);
      for (const { name } of nodes) {
        if (this.#alive.has(name)) this.#downSince.delete(name);
        else if (!this.#downSince.has(name)) this.#downSince.set(name, this.nowMs());
      }
    } catch (error) {
      log('cluster.put_off', { error: String(error) });
      clearTimeout(this.#readTimer);
      if (!this.#isEnding) this.#readTimer = setTimeout(() => void this.#readNext(), RENEW_MS);
    }
  }
}
