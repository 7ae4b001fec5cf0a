/** What an attacher and its successor say to each other: one JSON object a line, both ways, on a socket that the successor inherits. */

import type { Duplex } from 'node:stream';

import { type JsonObject, LineSplitter } from '../wire/line-protocol.ts';

/** Where the successor has the socket, and the first of the devices' descriptors. */
export const CHANNEL_FD = 3;
export const FIRST_DEVICE_FD = 4;

export class HandoverChannel {
  readonly #socket: Duplex;
  readonly #splitter = new LineSplitter();
  readonly #lines: string[] = [];
  #ended = false;
  #onHeard: (() => void) | undefined;

  constructor(socket: Duplex) {
    this.#socket = socket;
    socket.on('data', (bytes: Uint8Array) => {
      const lines = this.#splitter.take(bytes);
      if (lines === undefined) socket.destroy();
      else this.#lines.push(...lines);
      this.#onHeard?.();
    });
    // The other's end is told by `next`.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.#ended = true;
      this.#onHeard?.();
    });
  }

  say(message: JsonObject): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** What the other says next; undefined once it has ended. */
  async next(): Promise<JsonObject | undefined> {
    while (this.#lines.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#onHeard = resolve;
      });
    }
    const line = this.#lines.shift();
    if (line === undefined) return undefined;
    const message: JsonObject = JSON.parse(line);
    return message;
  }

  close(): void {
    this.#socket.destroy();
  }
}
