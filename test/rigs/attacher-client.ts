/** Calls on attacher.sock, one connection each. */

import net from 'node:net';

import type { JsonObject } from '../../src/wire/line-protocol.ts';

export class AttacherClient {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Rejects with an error that has the answer's `code`. */
  async call(call: string, args: JsonObject = {}): Promise<JsonObject> {
    const socket = net.connect(this.#path);
    socket.write(`${JSON.stringify({ id: 0, call: 'hello', args: { protocol: 1 } })}\n`);
    socket.write(`${JSON.stringify({ id: 1, call, args })}\n`);
    let text = '';
    for await (const bytes of socket) {
      text += String(bytes);
      const line = text.split('\n').find((one) => one.startsWith('{"id":1,'));
      if (line === undefined || !text.includes(`${line}\n`)) continue;
      socket.destroy();
      const answer = JSON.parse(line);
      if ('ok' in answer) return answer.ok;
      throw Object.assign(new Error(answer.error.message), { code: answer.error.code });
    }
    throw new Error('the attacher ended the connection');
  }

  isListening(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = net.connect(this.#path);
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
  }
}
