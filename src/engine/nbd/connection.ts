/** What the frontend knows of one client. State only: {@link Receiver}, {@link Sender} and {@link Frontend} act on it. */

import { BLOCK_BYTES } from '../../model/block-target.ts';
import { Handshake } from '../../wire/nbd/handshake.ts';
import type { Attachment } from './attachment.ts';
import { NONE, type SlotPool } from './slots.ts';
import { SlotQueue } from './slot-queue.ts';

/**
 * A receive buffer: an option of the handshake (32 KiB and a header) fits, and 15 requests with 4 KiB each. Larger ones bring
 * fewer receives but push each other out of the CPU's cache.
 */
export const RECEIVE_BYTES = 65_536;

/**
 * free: nobody's. handshake; transmission. draining: nothing more is received, what was asked is answered, then it ends.
 * over: being closed, nothing more is started or sent.
 */
export type Phase = 'free' | 'handshake' | 'transmission' | 'draining' | 'over';

/** The request in pieces that is being handed out piece by piece; the ones behind it wait. */
export type Issue = 'none' | 'write' | 'chunks' | 'stream';

export class Connection {
  readonly index: number;
  phase: Phase = 'free';
  fd = -1;
  attachment: Attachment | undefined;
  handshake: Handshake | undefined;
  structuredReplies = false;
  allocationContext = false;

  /** The receive buffer, and the addresses of the first unparsed byte and of the end of what was received. */
  readonly bufferAddress: number;
  start = 0;
  end = 0;
  receiving: 'nothing' | 'buffer' | 'slot' = 'nothing';
  /** The last write was received straight into its slot: the next receive is to bring its successor's header and little else. */
  expectsLargeWrite = false;

  /** The write whose payload is being received, and what is still to come of it. */
  fillSlot: number = NONE;
  fillAddress = 0;
  fillBytes = 0;
  /** Payload to skip, of a write that was refused or has failed. */
  discardBytes = 0;

  issue: Issue = 'none';
  issueParent: number = NONE;
  issueOffset = 0;
  issueBytes = 0;

  /** Waits for slots. */
  waiting = false;

  /** Replies to send, in order. The first `sendingCount` belong to the send under way. */
  readonly replies: SlotQueue;
  sending = false;
  /** In the list of connections with replies to send. */
  dirty = false;
  queuedBytes = 0;

  /** Pieces of replies that go out in order, through laneNext. */
  laneFirst: number = NONE;
  laneLast: number = NONE;
  laneCount = 0;
  /** A reply in pieces has been begun: nothing else may be sent until its end. */
  wireTaken = false;
  /** Replies that wait for the wire. */
  readonly held: SlotQueue;

  closed = false;

  constructor(slots: SlotPool, index: number, bufferAddress: number) {
    this.index = index;
    this.bufferAddress = bufferAddress;
    this.replies = new SlotQueue(slots);
    this.held = new SlotQueue(slots);
  }

  /** Makes it the connection of a new client. */
  open(attachment: Attachment, fd: number): void {
    this.phase = 'handshake';
    this.fd = fd;
    this.attachment = attachment;
    this.handshake = new Handshake(() => attachment.exportInfo);
    this.structuredReplies = false;
    this.allocationContext = false;
    this.start = this.bufferAddress;
    this.end = this.bufferAddress;
    this.receiving = 'nothing';
    this.expectsLargeWrite = false;
    this.fillSlot = NONE;
    this.fillBytes = 0;
    this.discardBytes = 0;
    this.issue = 'none';
    this.issueParent = NONE;
    this.issueBytes = 0;
    this.sending = false;
    this.queuedBytes = 0;
    this.laneFirst = NONE;
    this.laneLast = NONE;
    this.laneCount = 0;
    this.wireTaken = false;
    this.closed = false;
  }

  get isOver(): boolean {
    return this.phase === 'over';
  }

  /** Makes `slot`, which describes a write, the one whose payload is received next. */
  startFill(slots: SlotPool, slot: number): void {
    const offset = slots.offsetBytes[slot]!;
    this.fillSlot = slot;
    this.fillAddress = slots.dataAddress[slot]! + (offset % BLOCK_BYTES);
    this.fillBytes = slots.lengthBytes[slot]!;
  }
}
