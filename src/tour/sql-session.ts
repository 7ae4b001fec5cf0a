/** One connection to PostgreSQL, through psql: statements go in, and an answer comes when all of them have returned. */

import type { ChildProcess } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** Printed by psql's own \echo behind the statements; no result looks like it. */
const DONE = '--holdfast-done--';

export class SqlSession {
  readonly #input: Writable;
  readonly #output: Readable;
  readonly #exited: Promise<void>;
  #received = '';
  #answer: ((result: string) => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #hasEnded = false;

  constructor(psql: ChildProcess) {
    if (psql.stdin === null || psql.stdout === null) throw new Error('psql has no pipes');
    this.#input = psql.stdin;
    this.#output = psql.stdout;
    this.#output.setEncoding('utf8').on('data', (text: string) => this.#onText(text));
    // A psql that died is told by its exit; writing to it then is no error of its own.
    this.#input.on('error', () => undefined);
    this.#exited = new Promise((resolve) => {
      psql.on('close', () => {
        this.#hasEnded = true;
        this.#fail?.(new Error('psql ended before the statements returned'));
        resolve();
      });
    });
  }

  /** Runs statements; resolves with the rows that they print. Rejects when one fails: the session is over then. */
  async run(statements: string): Promise<string> {
    if (this.#hasEnded) throw new Error('psql has ended');
    return await new Promise((resolve, reject) => {
      this.#answer = resolve;
      this.#fail = reject;
      this.#input.write(`${statements}\n\\echo ${DONE}\n`);
    });
  }

  async close(): Promise<void> {
    this.#input.end();
    await this.#exited;
  }

  #onText(text: string): void {
    this.#received += text;
    if (!this.#received.endsWith(`${DONE}\n`)) return;
    const result = this.#received.slice(0, -DONE.length - 1);
    this.#received = '';
    this.#answer?.(result);
  }
}
