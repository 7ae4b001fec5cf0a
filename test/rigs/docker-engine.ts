/** A Docker Engine of the test's own: its folders, its socket, no bridge, no packet filter. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import path from 'node:path';

import { until } from './attach-rig.ts';
import type { Ended } from './cli-rig.ts';
import type { Sandbox } from './sandbox.ts';

export class DockerEngine {
  readonly #sandbox: Sandbox;
  readonly #directory: string;
  #daemon: ChildProcess | undefined;

  /** `directory`: for all of its files. */
  constructor(sandbox: Sandbox, directory: string) {
    this.#sandbox = sandbox;
    this.#directory = directory;
  }

  get #socketPath(): string {
    return path.join(this.#directory, 'docker.sock');
  }

  async start(): Promise<void> {
    const at = (name: string): string => path.join(this.#directory, name);
    const where = ['--data-root', at('docker'), '--exec-root', '/run/docker'];
    const files = ['--pidfile', '/run/dockerd', '--host', `unix://${this.#socketPath}`];
    const network = ['--iptables=false', '--ip6tables=false', '--bridge=none'];
    const cgroup = ['--cgroup-parent', `/${this.#sandbox.cgroup}`];
    const words = ['dockerd', ...where, ...files, ...network, ...cgroup];
    this.#daemon = this.#sandbox.start(at('dockerd.log'), ...words);
    await until(async () => (await this.run('version')).code === 0);
  }

  /** As a crash ends it, or in order, with its containers. */
  async end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    if (this.#daemon === undefined) return;
    const ended = once(this.#daemon, 'exit');
    await this.#sandbox.run('sh', '-c', `kill -${signal.slice(3)} "$(cat /run/dockerd)"`);
    await ended;
    this.#daemon = undefined;
  }

  /** `docker …` to its end. */
  run(...words: readonly string[]): Promise<Ended> {
    return this.#sandbox.run('docker', '--host', `unix://${this.#socketPath}`, ...words);
  }

  /** `docker …`, which must succeed; resolves with what it printed. */
  async must(...words: readonly string[]): Promise<string> {
    const { code, out, err } = await this.run(...words);
    if (code !== 0) throw new Error(`docker ${words.join(' ')}: ${err}`);
    return out.trim();
  }

  /** A request to its API; resolves with the status. */
  request(method: string, url: string, body?: object): Promise<number> {
    const headers = { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const options = { socketPath: this.#socketPath, method, path: url, headers };
      const request = http.request(options, (response) => {
        response.resume();
        response.once('end', () => resolve(response.statusCode ?? 0));
      });
      request.once('error', reject);
      request.end(body === undefined ? '' : JSON.stringify(body));
    });
  }
}
