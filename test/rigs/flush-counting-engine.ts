/** Answers NBD requests from memory, and counts and holds flushes. */

import type { ScriptedConnection, SeenRequest } from './scripted-nbd-server.ts';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;

export class FlushCountingEngine {
  readonly #memory: Buffer;
  readonly #held: (() => void)[] = [];
  flushes = 0;
  writtenBytes = 0;
  holdFlushes = false;

  constructor(sizeBytes: number) {
    this.#memory = Buffer.alloc(sizeBytes);
  }

  serve(connection: ScriptedConnection): void {
    connection.onRequest = (request) => this.#answer(connection, request);
  }

  releaseFlushes(): void {
    for (const release of this.#held.splice(0)) release();
  }

  #answer(connection: ScriptedConnection, request: SeenRequest): void {
    const { type, offsetBytes, lengthBytes, data } = request;
    if (type === READ) {
      const content = this.#memory.subarray(offsetBytes, offsetBytes + lengthBytes);
      connection.reply(request, 0, content);
      return;
    }
    if (type === WRITE) {
      data.copy(this.#memory, offsetBytes);
      this.writtenBytes += lengthBytes;
    }
    if (type === FLUSH) this.flushes += 1;
    if (type === FLUSH && this.holdFlushes) this.#held.push(() => connection.reply(request));
    else connection.reply(request);
  }
}
