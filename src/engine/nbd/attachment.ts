/**
 * One attachment of a volume: its export, its listener, its target, and the requests that wait because the target has
 * as many under way as it takes.
 */

import type { BlockTarget, OnDone, Renew } from '../../model/block-target.ts';
import type { ExportInfo } from '../../wire/nbd/handshake.ts';
import type { Meter } from '../meter.ts';
import type { Connection } from './connection.ts';
import { type SlotPool, NONE } from './slots.ts';
import { SlotQueue } from './slot-queue.ts';

/**
 * Connections of one attachment: clients use 1 to 16. Further ones wait in the listener's queue, so that one client
 * cannot use up those of all volumes.
 */
export const CONNECTIONS_PER_ATTACHMENT_MAX = 64;

export type AttachmentOptions = {
  readonly attachId: string;
  readonly description: string;
  readonly socketPath: string;
  readonly readOnly: boolean;
  /** Opens the volume; called once. */
  readonly openTarget: (onDone: OnDone, renew: Renew) => BlockTarget;
  /** The volume's, which outlives the attachment. */
  readonly meter: Meter;
};

/** serving; draining: nothing new starts, connections end as they run empty; closed: nothing of it is left. */
export type AttachmentState = 'serving' | 'draining' | 'closed';

export class Attachment {
  readonly index: number;
  readonly attachId: string;
  readonly socketPath: string;
  readonly readOnly: boolean;
  readonly target: BlockTarget;
  readonly meter: Meter;
  readonly listener: number;
  readonly connections: Set<Connection> = new Set();
  /** Reserved for the client that the accept under way will bring. */
  accepting: Connection | undefined;
  /** An accept failed; a timer will try again. */
  retrying = false;
  /** Operations of env.io under this attachment's index: accept, timers, the listener's close. */
  operationCount = 0;
  state: AttachmentState = 'serving';
  /** Requests and pieces that the target has. */
  inFlight = 0;
  readonly waiting: SlotQueue;
  /** Called when a draining attachment has come nearer to its end. */
  onProgress: (() => void) | undefined;
  /** Called with the errno of the flush that ends the attachment. */
  onFlushed: ((errno: number) => void) | undefined;
  readonly #description: string;

  constructor(
    slots: SlotPool,
    parts: {
      readonly index: number;
      readonly listener: number;
      readonly options: AttachmentOptions;
      readonly target: BlockTarget;
    },
  ) {
    this.index = parts.index;
    this.listener = parts.listener;
    this.target = parts.target;
    this.meter = parts.options.meter;
    this.attachId = parts.options.attachId;
    this.socketPath = parts.options.socketPath;
    this.readOnly = parts.options.readOnly;
    this.#description = parts.options.description;
    this.waiting = new SlotQueue(slots);
  }

  get isEmpty(): boolean {
    return this.connections.size === 0;
  }

  get exportInfo(): ExportInfo {
    return {
      name: this.attachId,
      description: this.#description,
      sizeBytes: this.target.sizeBytes,
      readOnly: this.readOnly,
      shuttingDown: this.state !== 'serving',
    };
  }

  /** Whether the target takes another request now. */
  get hasRoom(): boolean {
    return this.inFlight < this.target.requestCountMax && this.waiting.first === NONE;
  }
}
