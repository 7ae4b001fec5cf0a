/**
 * Turns what an NBD connection receives into replies. Headers and short data go through a buffer; the rest of long
 * data is received where it belongs.
 */

import { type Reply, parseReply } from '../wire/nbd-client/nbd-transmission.ts';
import { SIMPLE_REPLY_BYTES } from '../wire/nbd/constants.ts';

/** Sixteen replies with 4 KiB each. Twice a pipe's worth was not faster. */
export const STREAM_BYTES: number = 64 * 1024;
/** Data of which this much is missing is received directly: below it, one more receive costs more than the copy. */
const DIRECT_BYTES_MIN: number = 16 * 1024;

export type ReplyStreamOptions = {
  readonly memory: ArrayBuffer;
  /** {@link STREAM_BYTES} of the arena. */
  readonly address: number;
  /** Bytes that follow a reply without error to `slot`; -1 if none is awaited. */
  readonly expects: (slot: number) => number;
  /** Where they go. */
  readonly destination: (slot: number) => number;
  readonly onReply: (slot: number, errno: number) => void;
};

export class ReplyStream {
  readonly #options: ReplyStreamOptions;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #reply: Reply = { errno: 0, cookieHigh: 0, cookieLow: 0 };
  /** Unused bytes of the buffer, from its start. */
  #heldBytes = 0;
  /** The read whose data is under way, and what is missing of it. */
  #slot = -1;
  #dataAddress = 0;
  #missingBytes = 0;
  #direct = false;

  constructor(options: ReplyStreamOptions) {
    this.#options = options;
    this.#bytes = new Uint8Array(options.memory);
    this.#view = new DataView(options.memory, options.address, STREAM_BYTES);
  }

  /** A new connection begins. */
  reset(): void {
    this.#heldBytes = 0;
    this.#slot = -1;
    this.#missingBytes = 0;
    this.#direct = false;
  }

  /** Where the next receive goes. */
  get nextAddress(): number {
    return this.#direct ? this.#dataAddress : this.#options.address + this.#heldBytes;
  }

  get nextBytes(): number {
    return this.#direct ? this.#missingBytes : STREAM_BYTES - this.#heldBytes;
  }

  /** Takes what the last receive brought. Returns what is wrong with it: the connection is then of no use. */
  take(receivedBytes: number): string | undefined {
    if (this.#direct) {
      this.#dataAddress += receivedBytes;
      this.#missingBytes -= receivedBytes;
      if (this.#missingBytes === 0) this.#finish();
      return undefined;
    }
    this.#heldBytes += receivedBytes;
    return this.#parse();
  }

  #parse(): string | undefined {
    let at = 0;
    for (;;) {
      if (this.#missingBytes > 0) at += this.#copy(at);
      if (this.#missingBytes > 0 || this.#heldBytes - at < SIMPLE_REPLY_BYTES) break;
      if (!parseReply(this.#view, at, this.#reply)) return 'it sent something that is no reply';
      const { cookieLow: slot, cookieHigh, errno } = this.#reply;
      const dataBytes = cookieHigh === 0 ? this.#options.expects(slot) : -1;
      if (dataBytes < 0) return 'it answered what was not asked';
      at += SIMPLE_REPLY_BYTES;
      if (errno !== 0 || dataBytes === 0) {
        this.#options.onReply(slot, errno);
        continue;
      }
      this.#slot = slot;
      this.#missingBytes = dataBytes;
      this.#dataAddress = this.#options.destination(slot);
    }
    const { address } = this.#options;
    if (at > 0) this.#bytes.copyWithin(address, address + at, address + this.#heldBytes);
    this.#heldBytes -= at;
    this.#direct = this.#missingBytes >= DIRECT_BYTES_MIN;
    return undefined;
  }

  /** Moves data from the buffer, where it begins at `at`, to its place. Returns the bytes moved. */
  #copy(at: number): number {
    const { address } = this.#options;
    const movedBytes = Math.min(this.#missingBytes, this.#heldBytes - at);
    this.#bytes.copyWithin(this.#dataAddress, address + at, address + at + movedBytes);
    this.#dataAddress += movedBytes;
    this.#missingBytes -= movedBytes;
    if (this.#missingBytes === 0) this.#finish();
    return movedBytes;
  }

  #finish(): void {
    const slot = this.#slot;
    this.#slot = -1;
    this.#direct = false;
    this.#options.onReply(slot, 0);
  }
}
