/**
 * The replicated volumes whose head is this engine, as control asks for them: it has the records, and carries out the transactions that
 * heads ask for (`head.next`). Frontends serve them as any other volume.
 */

import { Refusal } from '../../model/errors.ts';
import type { Env } from '../../env/env.ts';
import { IoAsync } from '../../env/io-async.ts';
import type { Port } from '../../env/io.ts';
import type { Arena } from '../../lib/arena.ts';
import { Turnstile } from '../../lib/turnstile.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import type { Log } from '../../model/log.ts';
import type { HeadEnd, HeadEvent } from '../../replication/head-host.ts';
import { EXTENT_BYTES } from '../../replication/messages.ts';
import type { Record, ReplicaId } from '../../replication/record.ts';
import { reviewRecord } from '../../replication/review.ts';
import type { ScrubOptions } from '../../replication/scrub.ts';
import type { TransactionOutcome } from '../../replication/set-changer.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { formatUuid } from '../../model/ids.ts';
import type { Drives } from '../drives.ts';
import type { MemoryUses } from '../memory-uses.ts';
import type { Meters } from '../meters.ts';
import type { Peers } from '../peers/peers.ts';
import type { Attachment } from '../nbd/attachment.ts';
import { ATTACHMENT_COUNT_MAX, type NbdFrontend } from '../nbd/frontend.ts';
import { TurnClock } from '../turn-clock.ts';
import { ExtentBuffers } from './extent-buffers.ts';
import { aboutJson, headJson, volumeJson } from './head-json.ts';
import { HeadNews, type HeadStart } from './head-news.ts';
import { type Link, type LinkHost, LocalLink } from './local-link.ts';
import { ReplicatedVolume } from './replicated-volume.ts';
import { Replicas } from './replicas.ts';

/** Extents that are copied at once, of all volumes, and that are compared. Apart: a copy awaits other engines, and their comparisons must not await it. */
const COPY_BUFFERS = 48;
const DIGEST_BUFFERS = 16;
/** What heads and replicas reserve of the arena. */
export const REPLICAS_MEMORY_BYTES: number =
  (COPY_BUFFERS + DIGEST_BUFFERS) * EXTENT_BYTES + BLOCK_BYTES;
/** Time that heads and replicas count by. Only while there is a head or a connection: an idle engine has no such timer. */
const TICK_MS = 25;
/** A head that stands still keeps no engine from its end for longer. */
const CLOSE_MS_MAX = 3000;
/** Nor the next head of its volume. */
const ABANDON_MS_MAX = 100;

export type HeadsOptions = {
  readonly arena: Arena;
  readonly memory: MemoryUses;
  readonly drives: Drives;
  readonly frontend: NbdFrontend;
  readonly meters: Meters;
  readonly log: Log;
  readonly socketDirectory: string;
  /** Undefined: this is a single machine. */
  readonly peers: Peers | undefined;
};

type Served = {
  readonly volume: ReplicatedVolume;
  readonly places: Map<ReplicaId, string>;
  readonly attachment: Attachment;
  readonly attachId: string;
  readonly local: ReplicaId | undefined;
  /** Wall time, ms since 1970. */
  readonly startedMs: number;
  /** Resolves when the head ends; undefined: its engine ended before it. */
  readonly ended: Promise<HeadEnd | undefined>;
  readonly onEnd: (end: HeadEnd | undefined) => void;
};

export class Heads {
  readonly #env: Env;
  readonly #options: HeadsOptions;
  readonly replicas: Replicas;
  readonly #buffers: ExtentBuffers;
  /** By volume. */
  readonly #served = new Map<string, Served>();
  readonly #turnstile = new Turnstile();
  readonly #clock: TurnClock;
  readonly #news: HeadNews;
  readonly #timer: Port;
  #isTicking = false;

  constructor(env: Env, options: HeadsOptions) {
    this.#env = env;
    this.#options = options;
    this.#news = new HeadNews(env.io);
    this.#clock = new TurnClock(env);
    this.#buffers = new ExtentBuffers(options.arena, COPY_BUFFERS, options.memory);
    this.#timer = env.io.port(() => this.#tick());
    env.io.onTurnEnd(() => {
      for (const { volume } of this.#served.values()) volume.endTurn();
    });
    this.replicas = new Replicas({
      now: () => this.#clock.now(),
      buffers: new ExtentBuffers(options.arena, DIGEST_BUFFERS, options.memory),
      yieldTurn: () => env.io.yieldTurn(),
      peers: options.peers?.server,
    });
  }

  // --- Heads --------------------------------------------------------------------------------------------------

  /** Serves a volume; the same call again finds it served. Its head has yet to claim it: clients connect at once, and wait. */
  start(how: HeadStart): Promise<{ readonly socketPath: string; readonly exportName: string }> {
    const { volume: uuid, attachId } = how;
    return this.#turnstile.enter(uuid, async () => {
      const present = this.#served.get(uuid);
      const isOther = present !== undefined && present.attachId !== attachId;
      // The record that the store has since names another attachment: its head is overtaken, whether it has heard of it or not.
      if (isOther && present.volume.head.changer.known.epoch < how.record.epoch) {
        await this.#abandon(uuid, present);
      } else if (isOther) {
        throw new Refusal('VOLUME_ATTACHED_OTHERWISE', {
          volume: formatUuid(uuid),
          wanted: `under attach id ${attachId}`,
          actual: `under attach id ${present.attachId}`,
        });
      }
      const served = this.#served.get(uuid) ?? (await this.#serve(how));
      return { socketPath: served.attachment.socketPath, exportName: attachId };
    });
  }

  /** Ends a head that is none any more: what its clients still want fails. */
  async #abandon(uuid: string, served: Served): Promise<void> {
    await this.#end(served, ABANDON_MS_MAX);
    this.#forget(uuid);
    this.#news.forget(uuid);
  }

  async #serve(how: HeadStart): Promise<Served> {
    const { frontend, meters, log, peers, socketDirectory } = this.#options;
    const { volume: uuid, attachId, local } = how;
    if (peers === undefined && how.places.size > 0) {
      throw new Refusal('INPUT_INVALID', { problem: 'this engine is of no node of a cluster' });
    }
    if (frontend.attachments.length >= ATTACHMENT_COUNT_MAX) {
      throw new Refusal('VOLUME_BUSY', {
        volume: formatUuid(uuid),
        operation: `service of ${ATTACHMENT_COUNT_MAX} other volumes by the same engine`,
      });
    }
    const { promise: ended, resolve: onEnd } = Promise.withResolvers<HeadEnd | undefined>();
    const places = new Map(how.places);
    const volume = this.#makeVolume({ ...how, places }, onEnd);
    const attachment = await frontend.open({
      meter: meters.of(uuid),
      attachId,
      description: `Holdfast volume ${formatUuid(uuid)}`,
      socketPath: `${socketDirectory}/${attachId}.sock`,
      readOnly: false,
      openTarget: (onDone, renew) => volume.openTarget(onDone, renew),
    });
    const startedMs = this.#env.clock.wallMs();
    const served = { volume, places, attachment, attachId, local, startedMs, ended, onEnd };
    this.#served.set(uuid, served);
    log('volume.served', { uuid: formatUuid(uuid), attachId, socketPath: attachment.socketPath });
    volume.start();
    this.keepTicking();
    return served;
  }

  #makeVolume(how: HeadStart, onEnd: (end: HeadEnd) => void): ReplicatedVolume {
    const env = this.#env;
    const { volume: uuid, attachId, record, head, local, places } = how;
    const { clientLives, stallLimitMs } = how;
    return new ReplicatedVolume({
      id: head,
      record,
      local,
      clientLives,
      stallLimitMs,
      buffers: this.#buffers,
      memory: this.#options.memory,
      replicas: this.replicas,
      host: {
        now: () => this.#clock.now(),
        newWriter: () => Buffer.from(env.random.bytes(16)).toString('hex'),
        link: (replica, host) => this.#link(replica, places, host),
        transact: (expected, next) => this.#news.transact({ volume: uuid, expected, next }),
        onServing: (served) => this.#log(uuid, 'serving', { epoch: served.epoch }),
        onEnd: (end) => {
          this.#log(uuid, end, {});
          onEnd(end);
          this.#news.onEnd({ volume: uuid, attachId, end });
        },
        onEvent: (event, about) => this.#log(uuid, event, aboutJson(about)),
        defer: (step) => this.#defer(step),
      },
    });
  }

  #link(replica: ReplicaId, places: ReadonlyMap<ReplicaId, string>, host: LinkHost): Link {
    const { memory, peers } = this.#options;
    const node = places.get(replica);
    if (peers !== undefined && node !== undefined && node !== peers.node) {
      return peers.link(replica, node, host);
    }
    const defer = (step: () => void): void => this.#defer(step);
    return new LocalLink(replica, { replicas: this.replicas, memory, defer }, host);
  }

  #defer(step: () => void): void {
    queueMicrotask(step);
    this.#env.io.yieldTurn();
  }

  #log(volume: string, what: HeadEvent | HeadEnd, details: JsonObject): void {
    this.#options.log('head.event', { volume: formatUuid(volume), what, ...details });
  }

  /** See {@link HeadNews.next}. */
  next(again: boolean): ReturnType<HeadNews['next']> {
    return this.#news.next(again);
  }

  /** What became of a transaction. */
  outcome(volume: string, writer: string, outcome: TransactionOutcome): void {
    this.#news.onOutcome(writer);
    this.#served.get(volume)?.volume.onOutcome(writer, outcome);
  }

  /** The store has this record of a volume. A head that another one, or another attachment, has overtaken ends. */
  tellRecord(volume: string, record: Record): void {
    reviewRecord(this.#find(volume).volume.head, record);
  }

  /** Says on which node a replica is: its next connection goes there, if it was elsewhere. */
  place(uuid: string, replica: ReplicaId, node: string): void {
    const { volume, places } = this.#find(uuid);
    if (places.get(replica) === node) return;
    places.set(replica, node);
    volume.forgetLink(replica);
  }

  /** Makes a replica that is not in S equal and a member, in place of `replaced`. */
  rebuild(uuid: string, replica: ReplicaId, replaced: ReplicaId | undefined): void {
    this.#find(uuid).volume.head.rebuild(replica, replaced);
  }

  /** Compares all that the members of a volume have, and repairs it; in place of the walk there may be. */
  scrub(volume: string, options: ScrubOptions): void {
    this.#find(volume).volume.head.startScrub(options);
  }

  /** Grows the volume; resolves when clients may use its new size. */
  grow(volume: string, sizeBytes: number): Promise<void> {
    const { volume: served } = this.#find(volume);
    return new Promise((resolve) => {
      served.grow(sizeBytes, () => {
        resolve();
        this.#env.io.yieldTurn();
      });
    });
  }

  /** S is to have at least so many members; resolves when the store knows, or S has fewer. */
  setMinimum(volume: string, minimum: number): Promise<void> {
    const { head } = this.#find(volume).volume;
    return new Promise((resolve) => {
      head.setMinimum(minimum, () => {
        resolve();
        this.#env.io.yieldTurn();
      });
    });
  }

  /**
   * Drains and ends the clients' connections, flushes, detaches the volume in the store, and ends its head. Resolves with how that ended;
   * where there is none of this attach id it is done. `force`: what its clients still want fails instead, and nothing is flushed.
   */
  detach(uuid: string, attachId: string, { force }: { readonly force: boolean }): Promise<HeadEnd> {
    const present = this.#served.get(uuid);
    // One that is being detached in order may stand still, and waits for this.
    if (force && present?.attachId === attachId) present.volume.head.giveUp();
    return this.#turnstile.enter(uuid, async () => {
      const served = this.#served.get(uuid);
      if (served?.attachId !== attachId) return 'detached';
      await this.#options.frontend.close(served.attachment);
      served.volume.head.detach();
      const end = await served.ended;
      if (end === undefined) throw new Refusal('INSTALLATION_STOPPING');
      this.#forget(uuid);
      return end;
    });
  }

  /** The volumes that are served. */
  get volumes(): readonly string[] {
    return [...this.#served.keys()];
  }

  /** As `volume.status` has it; undefined: it has no head here. */
  volumeStatus(uuid: string): JsonObject | undefined {
    const served = this.#served.get(uuid);
    if (served === undefined) return undefined;
    const replica = this.#options.drives.find(served.local ?? '')?.volume;
    return volumeJson(uuid, { ...served, allocatedBytes: replica?.allocatedBytes });
  }

  /** How its head is, and its replicas. */
  status(uuid: string): JsonObject {
    const { volume, attachId, attachment } = this.#find(uuid);
    const connections = attachment.connections.size;
    return { uuid: formatUuid(uuid), attachId, connections, ...headJson(volume.head) };
  }

  /**
   * The engine ends: clients get their last replies, as far as those come within some seconds; what is not answered they ask the next engine.
   * The records keep naming the attachments.
   */
  async close(): Promise<void> {
    // Whoever waits for news has no more to wait for.
    this.#news.wake();
    await Promise.all([...this.#served.values()].map((served) => this.#end(served, CLOSE_MS_MAX)));
    this.#served.clear();
  }

  async #end({ volume, attachment, ended, onEnd }: Served, msMax: number): Promise<void> {
    // One that is being detached is drained already, and its head may stand still.
    const drained =
      attachment.state === 'serving' ? this.#options.frontend.close(attachment) : ended;
    await Promise.race([drained, new IoAsync(this.#env.io).sleep(msMax)]);
    volume.stop();
    onEnd(undefined);
    this.#env.io.yieldTurn();
  }

  #forget(uuid: string): void {
    this.#served.delete(uuid);
    this.#news.forgetEnd(uuid);
    this.#options.meters.delete(uuid);
  }

  #find(volume: string): Served {
    const served = this.#served.get(volume);
    if (served !== undefined) return served;
    throw new Refusal('VOLUME_NOT_ATTACHED', { volume: formatUuid(volume) });
  }

  // --- Time ---------------------------------------------------------------------------------------------------

  /** There is a head, or a connection of another engine's. */
  keepTicking(): void {
    if (this.#isTicking) return;
    this.#isTicking = true;
    this.#env.io.timer(this.#timer, 0, TICK_MS);
  }

  #tick(): void {
    this.#isTicking = false;
    const { peers } = this.#options;
    this.replicas.tick();
    peers?.tick();
    for (const { volume } of this.#served.values()) volume.tick();
    if (this.#served.size > 0 || peers?.isIdle === false) this.keepTicking();
  }
}
