/** A real etcd of one member, or one of several, in a directory of its own. HOLDFAST_ETCD names another program than `etcd`. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { openSync, rmSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import type { Place } from './network.ts';

const PROGRAM = process.env['HOLDFAST_ETCD'] ?? 'etcd';
const HERE: Place = { enter: [], host: '127.0.0.1' };
const READY_MS_MAX = 20_000;
/** Below the kernel's own (net.ipv4.ip_local_port_range). */
const [PORT_MIN, PORT_MAX] = [12_000, 32_000];

/** Why there is no etcd here, as `skip` of node:test takes it; false where there is one. */
export const NO_ETCD: string | false =
  spawnSync(PROGRAM, ['--version']).status === 0 ? false : 'no etcd (Debian: etcd-server)';

export type EtcdOptions = {
  readonly directory: string;
  /** Server's certificate and key, and whom it trusts: files. Without it, no TLS. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  readonly args?: readonly string[];
  /** Where it runs, if not in this network namespace. */
  readonly place?: Place;
};

/** A port that nobody has at the moment: none of those that the kernel gives to connections, which could have it a moment later. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORT_MIN, PORT_MAX);
    const server = net.createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

export class EtcdProcess {
  readonly endpoint: string;
  readonly #options: EtcdOptions;
  readonly #words: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(options: EtcdOptions, endpoint: string, words: readonly string[]) {
    this.#options = options;
    this.endpoint = endpoint;
    this.#words = words;
  }

  /** One that elects itself within 0.2 s. It does not sync, since no machine loses power here. */
  static async start(options: EtcdOptions): Promise<EtcdProcess> {
    const { host } = options.place ?? HERE;
    const peer = `http://${host}:${await freePort()}`;
    const member = await EtcdProcess.member(options, {
      name: 'default',
      peer,
      cluster: `default=${peer}`,
    });
    await member.up();
    return member;
  }

  /** A member of `cluster` (NAME=PEER,…), not started. `listen`: where it listens for what is sent to `peer`. */
  static async member(
    options: EtcdOptions,
    {
      name,
      peer,
      cluster,
      listen = peer,
    }: {
      readonly name: string;
      readonly peer: string;
      readonly cluster: string;
      readonly listen?: string;
    },
  ): Promise<EtcdProcess> {
    const { directory, tls, args = [], place = HERE } = options;
    const endpoint = `${tls === undefined ? 'http' : 'https'}://${place.host}:${await freePort()}`;
    const words = [
      `--name=${name}`,
      `--data-dir=${join(directory, name)}`,
      `--listen-client-urls=${endpoint}`,
      `--advertise-client-urls=${endpoint}`,
      `--listen-peer-urls=${listen}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=${cluster}`,
      '--heartbeat-interval=20',
      '--election-timeout=200',
      '--unsafe-no-fsync',
      ...(tls === undefined
        ? []
        : [
            `--cert-file=${tls.cert}`,
            `--key-file=${tls.key}`,
            `--trusted-ca-file=${tls.ca}`,
            '--client-cert-auth',
          ]),
      ...args,
    ];
    return new EtcdProcess(options, endpoint, words);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it with the data it has, and waits until it listens. */
  async up(): Promise<void> {
    const log = openSync(join(this.#options.directory, 'etcd.log'), 'a');
    const { enter } = this.#options.place ?? HERE;
    const words = ['--pdeathsig', 'KILL', ...enter, PROGRAM, ...this.#words];
    const child = spawn('setpriv', words, { stdio: ['ignore', log, log] });
    this.#child = child;
    for (const deadline = Date.now() + READY_MS_MAX; ; await pause(20)) {
      if (await this.#listens()) return;
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`etcd did not start: ${this.#options.directory}/etcd.log`);
      }
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** SIGKILL, and its end. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  }

  /** All that it stored. */
  loseData(): void {
    for (const word of this.#words) {
      if (word.startsWith('--data-dir='))
        rmSync(word.slice('--data-dir='.length), { recursive: true });
    }
  }

  /** Asked from where it is. */
  async #listens(): Promise<boolean> {
    const { enter, host } = this.#options.place ?? HERE;
    const script = `</dev/tcp/${host}/${new URL(this.endpoint).port}`;
    const [program, ...words] = [...enter, 'bash', '-c', script];
    const [status] = await once(spawn(program, words, { stdio: 'ignore' }), 'exit');
    return status === 0;
  }
}
