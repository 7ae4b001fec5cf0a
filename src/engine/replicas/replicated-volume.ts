/**
 * A volume whose head is this engine, as frontends drive it: their requests go to the head (src/replication), the head's to the replicas
 * over links.
 */

import { ESHUTDOWN } from '../../model/errno.ts';
import {
  BLOCK_BYTES,
  type BlockTarget,
  type OnDone,
  REQUEST_BYTES_MAX,
  type Renew,
} from '../../model/block-target.ts';
import { assert } from '../../lib/assert.ts';
import { Head } from '../../replication/head.ts';
import type { EventAbout, HeadEnd, HeadEvent, HeadOptions } from '../../replication/head-host.ts';
import { type Change, EXTENT_BYTES, SURVEY_EXTENTS } from '../../replication/messages.ts';
import type { Record, ReplicaId } from '../../replication/record.ts';
import type { TransactionOutcome } from '../../replication/set-changer.ts';
import type { MemoryUses } from '../memory-uses.ts';
import type { ExtentBuffers } from './extent-buffers.ts';
import type { Link, LinkHost } from './local-link.ts';
import type { Replicas } from './replicas.ts';

/** Requests at once through one client's target, as of a volume with one replica. */
const REQUEST_COUNT_MAX = 128;

export type ReplicatedVolumeHost = {
  /** CLOCK_BOOTTIME, ms. */
  now(): number;
  newWriter(): string;
  /** A link to a replica, wherever it is. */
  link(replica: ReplicaId, host: LinkHost): Link;
  /** A conditional transaction on the record in the cluster store; ends in {@link ReplicatedVolume.onOutcome}. */
  transact(expected: Record, next: Record): void;
  onServing(record: Record): void;
  onEnd(end: HeadEnd): void;
  onEvent(event: HeadEvent, about?: EventAbout): void;
  /** Runs `step` soon, outside of what is on the stack. */
  defer(step: () => void): void;
};

export type ReplicatedVolumeOptions = Pick<
  HeadOptions,
  'id' | 'record' | 'local' | 'clientLives' | 'stallLimitMs'
> & {
  readonly buffers: ExtentBuffers;
  readonly memory: MemoryUses;
  readonly replicas: Replicas;
  readonly host: ReplicatedVolumeHost;
};

type Client = { readonly onDone: OnDone; readonly renew: Renew };

export class ReplicatedVolume {
  readonly #options: ReplicatedVolumeOptions;
  readonly #head: Head;
  readonly #links = new Map<ReplicaId, Link>();
  #sizeBytes: number;
  #isStopped = false;
  // By the request's token to the head:
  readonly #clients: (Client | undefined)[] = [];
  readonly #tokens: number[] = [];
  readonly #free: number[] = [];

  constructor(options: ReplicatedVolumeOptions) {
    this.#options = options;
    const { id, record, local, clientLives, stallLimitMs, host, buffers, memory } = options;
    this.#sizeBytes = record.sizeBytes;
    this.#head = new Head({
      id,
      record,
      local,
      clientLives,
      stallLimitMs,
      host: {
        now: () => host.now(),
        send: (replica, request) => this.#links.get(replica)?.send(request),
        connect: (replica) => this.#linkTo(replica).connect(),
        transact: (expected, next) => host.transact(expected, next),
        newWriter: () => host.newWriter(),
        onDone: (token, errno) => this.#onDone(token, errno),
        readTo: (token, address) =>
          memory.isUsed(address)
            ? (this.#clients[token]?.renew(this.#tokens[token] ?? 0) ?? 0)
            : address,
        onServing: (served) => {
          this.#sizeBytes = served.sizeBytes;
          host.onServing(served);
        },
        onEnd: (end) => {
          for (const link of this.#links.values()) link.close();
          host.onEnd(end);
        },
        onEvent: (event, about) => host.onEvent(event, about),
        borrow: (use) => buffers.borrow(use),
        giveBack: (address) => buffers.giveBack(address),
        abandon: (address) => buffers.giveBack(address),
      },
    });
  }

  /** Claims the volume. Requests may come before it serves. */
  start(): void {
    this.#head.start();
  }

  get head(): Head {
    return this.#head;
  }

  onOutcome(writer: string, outcome: TransactionOutcome): void {
    this.#head.onOutcome(writer, outcome);
  }

  /** Grows the volume; `onDone` when clients may use its new size. */
  grow(sizeBytes: number, onDone: () => void): void {
    this.#head.grow(sizeBytes, () => {
      this.#sizeBytes = sizeBytes;
      onDone();
    });
  }

  /** Its engine ends: what is not answered ends in ESHUTDOWN, and the replicas hear nothing more. The record stays as it is. */
  stop(): void {
    this.#isStopped = true;
    for (const link of this.#links.values()) link.close();
    this.#head.path.stop();
  }

  /** Called at the end of each turn, when nothing of it is on the stack. */
  endTurn(): void {
    this.#head.path.operations.recycle();
  }

  /** Time has passed: called at least every 50 ms. */
  tick(): void {
    for (const link of this.#links.values()) link.tick();
    this.#head.tick();
  }

  /** A way for one client to do I/O on the volume. */
  openTarget(onDone: OnDone, renew: Renew): BlockTarget {
    const { path } = this.#head;
    const client: Client = { onDone, renew };
    // The compiler does not let a getter of the literal below see `this`.
    const sizeBytes = (): number => this.#sizeBytes;
    const change = (token: number, asked: Change): void => {
      const own = this.#admit(client, token);
      if (own !== undefined) path.change(own, asked);
    };
    return {
      requestCountMax: REQUEST_COUNT_MAX,
      get sizeBytes() {
        return sizeBytes();
      },
      read: (token, firstBlock, blockCount, address) => {
        const offsetBytes = firstBlock * BLOCK_BYTES;
        const lengthBytes = blockCount * BLOCK_BYTES;
        assertFits(lengthBytes);
        const own = this.#admit(client, token);
        if (own !== undefined) path.read(own, { offsetBytes, lengthBytes, address });
      },
      write: (token, offsetBytes, lengthBytes, address, fua) => {
        assertFits(lengthBytes);
        change(token, { kind: 'write', offsetBytes, lengthBytes, address, fua });
      },
      zero: (token, offsetBytes, lengthBytes, { allocate, fua }) =>
        change(token, { kind: 'zero', offsetBytes, lengthBytes, address: 0, allocate, fua }),
      trim: (token, offsetBytes, lengthBytes, fua) =>
        change(token, { kind: 'trim', offsetBytes, lengthBytes, address: 0, fua }),
      flush: (token) => {
        const own = this.#admit(client, token);
        if (own !== undefined) path.flush(own);
      },
      status: (firstBlock, blockCount, runs) => this.#status(firstBlock, blockCount, runs),
    };
  }

  /** The head's token for a client's request; undefined: it is refused. */
  #admit(client: Client, token: number): number | undefined {
    if (this.#isStopped || this.#head.isOver) {
      this.#options.host.defer(() => client.onDone(token, ESHUTDOWN));
      return undefined;
    }
    const own = this.#free.pop() ?? this.#tokens.length;
    this.#clients[own] = client;
    this.#tokens[own] = token;
    return own;
  }

  #onDone(own: number, errno: number): void {
    const client = this.#clients[own];
    this.#clients[own] = undefined;
    this.#free.push(own);
    client?.onDone(this.#tokens[own] ?? 0, errno);
  }

  /** What the replica here has, if it is in sync; else everything may be data. */
  #status(firstBlock: number, blockCount: number, runs: Uint32Array): number {
    const { local, replicas } = this.#options;
    const { changer, state } = this.#head;
    const isInSync = local !== undefined && changer.known.members.has(local) && state === 'serving';
    const content = isInSync ? replicas.content(local) : undefined;
    if (content === undefined) {
      runs[0] = blockCount;
      runs[1] = 1;
      return 1;
    }
    const extentBlocks = EXTENT_BYTES / BLOCK_BYTES;
    let count = 0;
    let masks: ReadonlyMap<number, number> = new Map();
    let surveyedTo = 0;
    for (let block = firstBlock; block < firstBlock + blockCount; block++) {
      const extent = Math.floor(block / extentBlocks);
      if (extent >= surveyedTo) {
        masks = new Map(
          content.survey(extent, SURVEY_EXTENTS).map((entry) => [entry.extent, entry.dataMask]),
        );
        surveyedTo = extent + SURVEY_EXTENTS;
      }
      const hasData = ((masks.get(extent) ?? 0) >>> (block % extentBlocks)) & 1;
      if (count > 0 && runs[count * 2 - 1] === hasData) runs[count * 2 - 2]! += 1;
      else if (count * 2 === runs.length) break;
      else {
        runs[count * 2] = 1;
        runs[count * 2 + 1] = hasData;
        count++;
      }
    }
    return count;
  }

  /** The replica is elsewhere than it was: its next connection goes there. */
  forgetLink(replica: ReplicaId): void {
    this.#links.get(replica)?.close();
    this.#links.delete(replica);
    // The one that was closed tells no more, and a member is waiting for it.
    this.#head.onUnreachable(replica, false);
  }

  #linkTo(replica: ReplicaId): Link {
    let link = this.#links.get(replica);
    if (link === undefined) {
      link = this.#options.host.link(replica, {
        onConnected: () => this.#head.onConnected(replica),
        onUnreachable: (refused) => this.#head.onUnreachable(replica, refused),
        onAnswer: (answer) => this.#head.onAnswer(answer),
      });
      this.#links.set(replica, link);
    }
    return link;
  }
}

/** A peer ends the connection over a larger one, and would get it again after the next. */
function assertFits(lengthBytes: number): void {
  assert(lengthBytes <= REQUEST_BYTES_MAX, 'frontends split what is larger than a target takes');
}
