/** What befalls the last replica of three engines: a new one takes its place, or it misses what is written while its engine is down. */

import { randomBytes } from 'node:crypto';
import type { Target } from '../lib/fio.ts';
import { field, numberField } from '../lib/json.ts';
import { runOk, waitFor } from '../lib/processes.ts';
import type { ThreeEngines } from './three-engines.ts';

const BLOCK_BYTES = 4096;
const REBUILD_MS_MAX = 300_000;
const ASK_MS = 20;

export class Rebuilds {
  readonly #three: ThreeEngines;
  readonly #sizeBytes: number;
  /** The replica on the last engine's drive. */
  #replica: string;

  /** Of a volume of `sizeBytes`, which was started. */
  constructor(three: ThreeEngines, sizeBytes: number) {
    this.#three = three;
    this.#sizeBytes = sizeBytes;
    this.#replica = this.#last.replica;
  }

  /** Makes a new replica in place of the last one, which is deleted; resolves with the seconds from the wish to its membership. */
  async replace(): Promise<number> {
    const { engine, drive } = this.#last;
    const replaced = this.#replica;
    const replica = randomBytes(16).toString('hex');
    await engine.call('replica.create', {
      driveId: drive.driveId,
      replica,
      sizeBytes: this.#sizeBytes,
    });
    this.#replica = replica;
    const seconds = await this.#join({ replaced });
    await engine.call('replica.delete', { replica: replaced });
    return seconds;
  }

  /** The last engine is down while `write` runs; resolves with how long its rebuild took, and with what its drive took for it. */
  async miss(write: () => Promise<void>): Promise<{ seconds: number; copiedBytes: number }> {
    const { cluster, keeper } = this.#three.parts;
    const { engine } = this.#last;
    await engine.end('SIGKILL');
    const isGone = (): boolean => keeper.record.members.every(([id]) => id !== this.#replica);
    await waitFor('the set is without it', isGone, { timeoutMs: REBUILD_MS_MAX, everyMs: ASK_MS });
    await write();
    await cluster.restart(this.#last);
    const seconds = await this.#join({});
    const counters = field(await engine.call('stats'), 'drives.0.counters');
    const blocks = numberField(counters, 'directBlocks') + numberField(counters, 'payloadBlocks');
    return { seconds, copiedBytes: blocks * BLOCK_BYTES };
  }

  get #last() {
    return this.#three.parts.cluster.members.at(-1)!;
  }

  /** Asks until it is a member: a head that is busy with its set forgets the wish. */
  async #join(how: { readonly replaced?: string }): Promise<number> {
    const { cluster, keeper } = this.#three.parts;
    const head = cluster.members[0]!.engine;
    const { uuid } = keeper.volume;
    const wish = { uuid, replica: this.#replica, node: this.#last.node, ...how };
    const startMs = performance.now();
    const isMember = async (): Promise<boolean> => {
      if (keeper.record.members.some(([id]) => id === this.#replica)) return true;
      await head.call('head.rebuild', wish);
      return false;
    };
    const timing = { timeoutMs: REBUILD_MS_MAX, everyMs: ASK_MS };
    await waitFor('the replica is a member', isMember, timing);
    return (performance.now() - startMs) / 1000;
  }
}

/** nbdcopy from a volume on the first engine's drive to a new one on the last one's. */
export class VolumeCopies {
  readonly #three: ThreeEngines;
  readonly #sizeBytes: number;
  #source: Target | undefined;

  constructor(three: ThreeEngines, sizeBytes: number) {
    this.#three = three;
    this.#sizeBytes = sizeBytes;
  }

  /** Makes the source, which the caller fills. */
  async start(): Promise<Target> {
    this.#source = await this.#make(0, 'f1');
    return this.#source;
  }

  /** Copies it; resolves with the seconds that nbdcopy took, its flush included. */
  async copy(): Promise<number> {
    const members = this.#three.parts.cluster.members;
    const last = members.length - 1;
    const to = await this.#make(last, 'f2');
    const startMs = performance.now();
    await runOk('nbdcopy', ['--flush', uriOf(this.#source), uriOf(to)]);
    const seconds = (performance.now() - startMs) / 1000;
    const { engine } = members[last]!;
    const uuid = 'f2'.repeat(16);
    await engine.call('volume.detach', { uuid, attachId: uuid });
    await engine.call('volume.delete', { uuid });
    return seconds;
  }

  async #make(index: number, digits: string): Promise<Target> {
    const { engine, drive } = this.#three.parts.cluster.members[index]!;
    const uuid = digits.repeat(16);
    const sizeBytes = this.#sizeBytes;
    await engine.call('volume.create', { driveId: drive.driveId, uuid, sizeBytes });
    const { socketPath } = await engine.call('volume.attach', { uuid, attachId: uuid, epoch: 1 });
    return { kind: 'nbd', uri: `nbd+unix:///${uuid}?socket=${String(socketPath)}`, sizeBytes };
  }
}

function uriOf(target: Target | undefined): string {
  if (target?.kind !== 'nbd') throw new Error('Not started');
  return target.uri;
}
