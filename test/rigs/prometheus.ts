/** A Prometheus of its own, on loopback, that scrapes one installation over TCP. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';

export type Answer = {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [number, string];
};

type Response = {
  readonly status: string;
  readonly error?: string;
  readonly data?: { readonly result: readonly Answer[] };
};

export class Prometheus {
  readonly #folder: string;
  #port = 0;
  #child: ChildProcess | undefined;
  #log = '';

  /** Its files are below `folder`, which the caller removes. */
  constructor(folder: string) {
    this.#folder = path.join(folder, 'prometheus');
  }

  /** A port of 127.0.0.1 that was free just now. */
  async freePort(): Promise<number> {
    const server = net.createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    server.close();
    await once(server, 'close');
    if (address === null || typeof address === 'string') throw new Error('no port');
    return address.port;
  }

  /** Starts it, and waits until it answers. */
  async start(scraped: {
    readonly target: string;
    readonly tokenFile: string;
    readonly rules: string;
  }): Promise<void> {
    fs.mkdirSync(this.#folder, { recursive: true });
    const config = path.join(this.#folder, 'prometheus.yml');
    // JSON is YAML.
    const text = JSON.stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [scraped.rules],
      scrape_configs: [
        {
          job_name: 'holdfast',
          authorization: { credentials_file: scraped.tokenFile },
          static_configs: [{ targets: [scraped.target] }],
        },
      ],
    });
    fs.writeFileSync(config, text);
    this.#port = await this.freePort();
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        'prometheus',
        `--config.file=${config}`,
        `--storage.tsdb.path=${path.join(this.#folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${this.#port}`,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.#log += chunk.toString()));
    this.#child = child;
    for (let tries = 0; tries < 200; tries++) {
      const answer = await fetch(`http://127.0.0.1:${this.#port}/-/ready`).catch(() => undefined);
      if (answer?.ok === true) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`Prometheus is not ready: ${this.#log}`);
  }

  /** The series that an instant query answers with. Throws where it is no expression. */
  async query(expr: string): Promise<readonly Answer[]> {
    const url = `http://127.0.0.1:${this.#port}/api/v1/query?query=${encodeURIComponent(expr)}`;
    const answer: Response = JSON.parse(await (await fetch(url)).text());
    if (answer.status !== 'success') throw new Error(`${expr}: ${answer.error ?? 'no answer'}`);
    return answer.data?.result ?? [];
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
}
