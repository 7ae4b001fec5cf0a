/**
 * The NBD frontend: attachments, their listeners and clients, and what ties the parts together. All of it runs on
 * completions of env.io.
 *
 * Invariants:
 *  1. Once a connection is over, nothing of it starts any more; what the target has of it may end (design.md, 3.12).
 *  2. A slot is given back only when neither the target, nor an operation of env.io, nor a queue refers to it. A connection is
 *     used again only when its descriptor is closed and it holds no slot.
 *  3. The hook that resumes clients runs before the stores' own, and the one that sends runs after them: see {@link NbdFrontend.runLast}.
 */

import { assert } from '../../lib/assert.ts';
import type { Arena } from '../../lib/arena.ts';
import type { Env } from '../../env/env.ts';
import type { Io, Port } from '../../env/io.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import type { MemoryUses } from '../memory-uses.ts';
import { Answers, STREAM_PIECE } from './answers.ts';
import {
  Attachment,
  type AttachmentOptions,
  CONNECTIONS_PER_ATTACHMENT_MAX,
} from './attachment.ts';
import { BlockStatus } from './block-status.ts';
import { Connection, RECEIVE_BYTES } from './connection.ts';
import { Dispatcher } from './dispatcher.ts';
import { Negotiator } from './negotiator.ts';
import { Pieces } from './pieces.ts';
import { Receiver } from './receiver.ts';
import { Sender } from './sender.ts';
import { NONE, SlotPool, slotPoolBytes } from './slots.ts';

/** Clients at once, of all volumes: each has 80 KiB of its own, 40 MiB in all, of which only what is used is touched. */
export const CONNECTION_COUNT_MAX = 512;
/** Volumes attached at once. Each has one of the connections reserved for its next client. */
export const ATTACHMENT_COUNT_MAX = 256;
/** What the frontend reserves of the arena. */
export const NBD_MEMORY_BYTES: number =
  slotPoolBytes(CONNECTION_COUNT_MAX) + CONNECTION_COUNT_MAX * RECEIVE_BYTES + BLOCK_BYTES;

/** A draining attachment's clients have this long to take their replies. */
const DRAIN_MS_MAX = 5000;
/** After a failed accept (no descriptors are left, say). */
const ACCEPT_RETRY_MS = 1000;
export class NbdFrontend {
  readonly #env: Env;
  readonly #io: Io;
  readonly #slots: SlotPool;
  readonly #connections: Connection[] = [];
  readonly #free: Connection[] = [];
  readonly #attachments: (Attachment | undefined)[] = [];
  readonly #sender: Sender;
  readonly #answers: Answers;
  readonly #negotiator: Negotiator;
  readonly #dispatcher: Dispatcher;
  readonly #pieces: Pieces;
  readonly #receiver: Receiver;
  readonly #acceptPort: Port;
  readonly #closePort: Port;
  readonly #timerPort: Port;
  #waiters: Connection[] = [];
  /** A slot was given back since the waiters were last tried. */
  #slotsFreed = false;
  #lastHook = 0;

  /** `memory`: of what is read and written through targets, by whoever. */
  constructor(env: Env, arena: Arena, memory: MemoryUses) {
    this.#env = env;
    this.#io = env.io;
    const { io } = env;
    this.#slots = new SlotPool(arena, CONNECTION_COUNT_MAX, memory);
    this.#slots.onFree = () => (this.#slotsFreed = true);
    const slots = this.#slots;
    const buffers = arena.reserve(CONNECTION_COUNT_MAX * RECEIVE_BYTES, BLOCK_BYTES);
    for (let index = 0; index < CONNECTION_COUNT_MAX; index += 1) {
      this.#connections.push(new Connection(slots, index, buffers + index * RECEIVE_BYTES));
    }
    this.#free.push(...this.#connections.toReversed());
    const connections = this.#connections;
    const onBroken = (connection: Connection): void => this.#end(connection);
    const onDisconnect = (connection: Connection): void => this.#drain(connection);
    const onReleased = (connection: Connection): void => this.#onReleased(connection);
    const onSent = (connection: Connection, slot: number): void => this.#onSent(connection, slot);
    this.#sender = new Sender(io, { slots, connections, events: { onSent, onBroken } });
    const sender = this.#sender;
    this.#answers = new Answers(arena, { slots, sender, events: { onReleased, onBroken } });
    this.#negotiator = new Negotiator(arena, { slots, sender, events: { onDisconnect } });
    const answers = this.#answers;
    this.#dispatcher = new Dispatcher(io, { slots, connections, answers });
    const start = (connection: Connection, slot: number): void =>
      this.#dispatcher.start(connection, slot);
    this.#pieces = new Pieces({ slots, answers, events: { start } });
    this.#receiver = new Receiver(io, {
      arena,
      slots,
      connections,
      answers,
      pieces: this.#pieces,
      negotiator: this.#negotiator,
      blockStatus: new BlockStatus(arena, { slots, sender }),
      events: {
        start,
        wait: (connection) => this.#wait(connection),
        onDisconnect,
        onBroken,
      },
    });
    this.#acceptPort = io.port((index, result) => this.#onAccept(index, result));
    this.#closePort = io.port((index) => this.#onClosed(index));
    this.#timerPort = io.port((index, result) => this.#onTimer(index, result));
    io.onTurnEnd(() => this.#resume());
    this.runLast();
  }

  /**
   * Moves the sending of replies behind all hooks registered so far. To be called after a store has registered its own, for
   * what a store tells in its hook is to be sent in the same turn.
   */
  runLast(): void {
    this.#lastHook += 1;
    const number = this.#lastHook;
    this.#io.onTurnEnd(() => {
      if (number === this.#lastHook) this.#endTurn();
    });
  }

  /** Attachments that are being served or drained. */
  get attachments(): readonly Attachment[] {
    return this.#attachments.filter((attachment) => attachment !== undefined);
  }

  /** Serves a volume on its socket. Resolves when clients can connect; rejects with ErrnoError if the socket cannot be made. */
  async open(options: AttachmentOptions): Promise<Attachment> {
    const listener = await this.#env.files.listen(options.socketPath);
    const index = this.#freeIndex();
    const attachment: Attachment = new Attachment(this.#slots, {
      index,
      listener,
      options,
      target: options.openTarget(
        (token, errno) => this.#dispatcher.onDone(attachment, token, errno),
        (token) => this.#slots.renew(token),
      ),
    });
    this.#attachments[index] = attachment;
    this.#accept(attachment);
    return attachment;
  }

  /**
   * Ends an attachment: what is under way is answered, what comes then is refused with ESHUTDOWN, connections end as they run empty
   * or after {@link DRAIN_MS_MAX}, then all of it is flushed. Resolves with the flush's errno, 0 if all is on media.
   */
  async close(attachment: Attachment): Promise<number> {
    assert(attachment.state === 'serving', 'an attachment is closed once');
    attachment.state = 'draining';
    await this.#env.files.remove(attachment.socketPath);
    const { index } = attachment;
    attachment.operationCount += 2;
    this.#io.close(this.#closePort, CONNECTION_COUNT_MAX + index, attachment.listener);
    this.#io.timer(this.#timerPort, index, DRAIN_MS_MAX);
    for (const connection of attachment.connections) this.#endIfIdle(connection);
    await this.#until(attachment, () => attachment.isEmpty);
    const errno = await new Promise<number>((resolve) => {
      attachment.onFlushed = resolve;
      this.#dispatcher.flush(attachment);
    });
    this.#io.cancelTimer(this.#timerPort, index);
    if (attachment.retrying) this.#io.cancelTimer(this.#timerPort, ATTACHMENT_COUNT_MAX + index);
    // The next attachment may have this index, and with it the indexes of these operations.
    await this.#until(attachment, () => attachment.operationCount === 0);
    attachment.state = 'closed';
    this.#attachments[index] = undefined;
    return errno;
  }

  async #until(attachment: Attachment, isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      await new Promise<void>((resolve) => {
        attachment.onProgress = resolve;
      });
    }
  }

  #tell(attachment: Attachment): void {
    const { onProgress } = attachment;
    if (onProgress === undefined) return;
    attachment.onProgress = undefined;
    onProgress();
    this.#io.yieldTurn();
  }

  #freeIndex(): number {
    let index = 0;
    while (this.#attachments[index] !== undefined) index += 1;
    assert(index < ATTACHMENT_COUNT_MAX, 'the engine bounds its attachments');
    return index;
  }

  // --- Clients --------------------------------------------------------------------------------------------------

  /** Takes the next client, if there is room for one. */
  #accept(attachment: Attachment): void {
    if (attachment.state !== 'serving' || attachment.accepting !== undefined) return;
    if (attachment.retrying) return;
    if (attachment.connections.size >= CONNECTIONS_PER_ATTACHMENT_MAX) return;
    attachment.accepting = this.#free.pop();
    if (attachment.accepting === undefined) return;
    attachment.operationCount += 1;
    this.#io.accept(this.#acceptPort, attachment.index, attachment.listener);
  }

  #onAccept(index: number, result: number): void {
    const attachment = this.#attachments[index];
    const connection = attachment?.accepting;
    assert(attachment !== undefined && connection !== undefined, 'an accept has its attachment');
    attachment.accepting = undefined;
    attachment.operationCount -= 1;
    if (result < 0) {
      this.#free.push(connection);
      if (attachment.state === 'serving') {
        attachment.retrying = true;
        attachment.operationCount += 1;
        this.#io.timer(this.#timerPort, ATTACHMENT_COUNT_MAX + index, ACCEPT_RETRY_MS);
      } else this.#tell(attachment);
      return;
    }
    connection.open(attachment, result);
    attachment.connections.add(connection);
    if (attachment.state === 'serving') {
      this.#negotiator.greet(connection);
      this.#receiver.advance(connection);
      this.#accept(attachment);
    } else this.#end(connection);
  }

  #onTimer(index: number, result: number): void {
    const attachment = this.#attachments[index % ATTACHMENT_COUNT_MAX];
    if (attachment === undefined) return;
    attachment.operationCount -= 1;
    if (index >= ATTACHMENT_COUNT_MAX) {
      attachment.retrying = false;
      this.#accept(attachment);
    } else if (result === 0) {
      for (const connection of attachment.connections) this.#end(connection);
    }
    this.#tell(attachment);
  }

  /** Nothing more is taken from this client; it ends when all is answered. */
  #drain(connection: Connection): void {
    connection.phase = 'draining';
    this.#endIfIdle(connection);
  }

  #endIfIdle(connection: Connection): void {
    if (this.#slots.heldBy(connection.index) > 0) return;
    if (connection.phase === 'over') this.#recycle(connection);
    else if (connection.phase === 'draining' || connection.attachment?.state === 'draining') {
      this.#end(connection);
    }
  }

  #end(connection: Connection): void {
    if (connection.phase === 'over' || connection.phase === 'free') return;
    connection.phase = 'over';
    this.#io.close(this.#closePort, connection.index, connection.fd);
  }

  /** The descriptor is closed: no operation of env.io refers to the connection's memory any more. */
  #onClosed(index: number): void {
    const connection = this.#connections[index];
    if (connection === undefined) {
      const attachment = this.#attachments[index - CONNECTION_COUNT_MAX];
      assert(attachment !== undefined, 'an attachment outlives its listener');
      attachment.operationCount -= 1;
      this.#tell(attachment);
      return;
    }
    connection.closed = true;
    this.#answers.abandon(connection);
    this.#receiver.dropFill(connection);
    this.#answers.dropLane(connection);
    this.#sender.drop(connection);
    this.#slotsFreed = true;
    this.#recycle(connection);
  }

  /** Frees an ended connection when nothing is left of it. */
  #recycle(connection: Connection): void {
    const { attachment } = connection;
    if (!connection.closed || attachment === undefined) return;
    if (this.#slots.heldBy(connection.index) > 0) return;
    attachment.connections.delete(connection);
    connection.attachment = undefined;
    connection.handshake = undefined;
    connection.phase = 'free';
    this.#free.push(connection);
    this.#tell(attachment);
    this.#accept(attachment);
    for (const other of this.#attachments) if (other !== undefined) this.#accept(other);
  }

  // --- Slots and turns ------------------------------------------------------------------------------------------

  #onSent(connection: Connection, slot: number): void {
    const { kind, parent } = this.#slots;
    const goesOn =
      kind[slot] === STREAM_PIECE &&
      connection.issue === 'stream' &&
      connection.issueParent === parent[slot] &&
      !connection.isOver;
    if (!goesOn) {
      this.#answers.release(connection, slot);
      return;
    }
    this.#pieces.continueStream(connection, slot);
    // With its last piece out, the connection goes on with the next request.
    if (connection.issueParent === NONE) this.#slotsFreed = true;
  }

  #onReleased(connection: Connection): void {
    this.#slotsFreed = true;
    if (connection.phase === 'over' || connection.phase === 'draining') {
      this.#endIfIdle(connection);
    } else if (connection.attachment?.state === 'draining') this.#endIfIdle(connection);
  }

  #wait(connection: Connection): void {
    if (connection.waiting) return;
    connection.waiting = true;
    this.#waiters.push(connection);
  }

  /** Lets connections that waited for slots try again, in the order in which they began to wait. */
  #resume(): void {
    if (!this.#slotsFreed || this.#waiters.length === 0) return;
    this.#slotsFreed = false;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const connection of waiters) {
      connection.waiting = false;
      this.#receiver.advance(connection);
    }
  }

  #endTurn(): void {
    this.#dispatcher.late = true;
    this.#sender.flushAll();
    this.#dispatcher.late = false;
    this.#dispatcher.endTurn();
    // What the sending freed is for those who wait; their requests have to come before the stores' hooks.
    if (this.#slotsFreed && this.#waiters.length > 0) this.#io.yieldTurn();
  }
}
