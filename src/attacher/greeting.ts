/** The handshake of one connection: {@link ClientHandshake} on a piece of the arena, half to receive, half to send. */

import {
  ClientHandshake,
  type Export,
  type Handshake,
  REPLY_DATA_BYTES_MAX,
} from '../wire/nbd-client/nbd-handshake.ts';
import { FLAG_READ_ONLY, FLAG_SEND_FLUSH } from '../wire/nbd/constants.ts';

const RECEIVE_BYTES: number = REPLY_DATA_BYTES_MAX + 1024;
const SEND_BYTES = 1024;
export const GREETING_ARENA_BYTES: number = RECEIVE_BYTES + SEND_BYTES;

export class Greeting {
  readonly #bytes: Uint8Array;
  readonly #address: number;
  #handshake: ClientHandshake;
  #heldBytes = 0;

  /** `address` names {@link GREETING_ARENA_BYTES} of the arena. */
  constructor(memory: ArrayBuffer, address: number) {
    this.#bytes = new Uint8Array(memory);
    this.#address = address;
    this.#handshake = new ClientHandshake('');
  }

  start(exportName: string): void {
    this.#handshake = new ClientHandshake(exportName);
    this.#heldBytes = 0;
  }

  get nextAddress(): number {
    return this.#address + this.#heldBytes;
  }

  /** Room for the next receive; an answer fits, so it is never 0 after `take`. */
  get nextBytes(): number {
    return RECEIVE_BYTES - this.#heldBytes;
  }

  /** Where what is to be sent lies. */
  get sendAddress(): number {
    return this.#address + RECEIVE_BYTES;
  }

  /** Takes what the last receive brought. What is to be sent was copied to {@link Greeting.sendAddress}. */
  take(receivedBytes: number): Handshake {
    const at = this.#address;
    this.#heldBytes += receivedBytes;
    const step = this.#handshake.step(this.#bytes.subarray(at, at + this.#heldBytes));
    if (step.kind === 'more') {
      this.#bytes.copyWithin(at, at + step.usedBytes, at + this.#heldBytes);
      this.#heldBytes -= step.usedBytes;
      if (step.send !== undefined) this.#bytes.set(step.send, this.sendAddress);
    }
    if (step.kind === 'ready' && step.usedBytes !== this.#heldBytes) {
      return { kind: 'failed', problem: 'it spoke before it was asked' };
    }
    return step;
  }
}

/** What makes an export useless under a volume of `sizeBytes`, or undefined. */
export function exportProblem(offered: Export, sizeBytes: number): string | undefined {
  if (offered.sizeBytes < sizeBytes) return `it offers ${offered.sizeBytes} bytes of ${sizeBytes}`;
  if ((offered.flags & FLAG_READ_ONLY) !== 0) return 'it offers no writes';
  if ((offered.flags & FLAG_SEND_FLUSH) === 0) return 'it offers no flushes';
  return undefined;
}
