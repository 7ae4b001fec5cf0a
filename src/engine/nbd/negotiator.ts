/** Drives the handshake of a connection over its receive buffer. Replies go through the connection's own data slot. */

import type { Arena } from '../../lib/arena.ts';
import { formatGreeting } from '../../wire/nbd/handshake.ts';
import { ANSWER } from './answers.ts';
import type { Connection } from './connection.ts';
import type { Sender } from './sender.ts';
import { type SlotPool, NONE } from './slots.ts';

export type NegotiatorEvents = {
  /** The session is over once what is queued is sent. */
  onDisconnect(connection: Connection): void;
};

export class Negotiator {
  readonly #bytes: Uint8Array;
  readonly #slots: SlotPool;
  readonly #sender: Sender;
  readonly #events: NegotiatorEvents;

  constructor(
    arena: Arena,
    parts: {
      readonly slots: SlotPool;
      readonly sender: Sender;
      readonly events: NegotiatorEvents;
    },
  ) {
    this.#bytes = arena.u8;
    this.#slots = parts.slots;
    this.#sender = parts.sender;
    this.#events = parts.events;
  }

  /** Sends the server's first bytes to a new client. */
  greet(connection: Connection): void {
    this.#send(connection, this.#slots.takeOwnData(connection.index), formatGreeting());
  }

  /** Answers one option. Each waits for the reply to the one before it: a client that does not read has no second reply. */
  step(connection: Connection): 'go' | 'wait' | 'receive' {
    const { handshake, start, end } = connection;
    if (handshake === undefined) return 'receive';
    const slot = this.#slots.takeOwnData(connection.index);
    if (slot === NONE) return 'wait';
    const outcome = handshake.step(this.#bytes.subarray(start, end));
    connection.start += outcome.consumedBytes;
    if (outcome.reply.length > 0) this.#send(connection, slot, outcome.reply);
    else this.#slots.release(slot);
    switch (outcome.kind) {
      case 'more':
        return outcome.consumedBytes > 0 && connection.start < connection.end ? 'go' : 'receive';
      case 'reply':
        return 'go';
      case 'transmission':
        connection.structuredReplies = handshake.structuredReplies;
        connection.allocationContext = handshake.allocationContext;
        connection.handshake = undefined;
        connection.phase = 'transmission';
        return 'go';
      case 'close':
        this.#events.onDisconnect(connection);
        return 'go';
    }
  }

  #send(connection: Connection, slot: number, bytes: Uint8Array): void {
    const address = this.#slots.dataAddress[slot]!;
    this.#bytes.set(bytes, address);
    this.#slots.kind[slot] = ANSWER;
    this.#sender.push(connection, slot, address, bytes.length);
  }
}
