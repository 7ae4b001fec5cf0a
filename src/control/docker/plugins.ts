/**
 * The volume plugins of an installation: for each a socket NAME.sock in the folder where Docker looks for plugins. Which there are is
 * on record; they listen as long as control runs.
 */

import path from 'node:path';

import type { FastifyInstance } from 'fastify';

import { removeEmpty } from '../../attacher/made-directories.ts';
import type { Made } from '../../attacher/made-log.ts';
import { makeDirectory } from '../../env/node/make-directory.ts';
import { removeStaleSocket } from '../../env/node/stale-socket.ts';
import { ErrnoError, errnoInWords } from '../../model/errno.ts';
import { Refusal } from '../../model/errors.ts';
import { checkName } from '../../model/ids.ts';
import { type ControlParts, tell } from '../parts.ts';
import type { Volumes } from '../volumes.ts';
import { openPluginServer } from './plugin-server.ts';
import { VolumeDriver } from './volume-driver.ts';

/** Docker's folder for the sockets of plugins; empty after a boot. */
export const PLUGIN_DIRECTORY = '/run/docker/plugins';

/** One for each engine that shall not remove the others' volumes. */
const PLUGIN_COUNT_MAX = 16;

/** A plugin as it is: what it is to be is on record. */
export type PluginState = {
  readonly name: string;
  readonly socketPath: string;
  /** Why it does not listen; undefined where it does. */
  readonly problem: string | undefined;
};

type MadeSocket = Extract<Made, { kind: 'socket' }>;

type Server = { readonly app: FastifyInstance; readonly made: MadeSocket };

export class VolumePlugins {
  readonly #parts: ControlParts;
  readonly #volumes: Volumes;
  readonly #directory: string;
  readonly #servers = new Map<string, Server>();
  readonly #problems = new Map<string, string>();

  constructor(
    parts: ControlParts,
    options: { readonly volumes: Volumes; readonly directory: string },
  ) {
    this.#parts = parts;
    this.#volumes = options.volumes;
    this.#directory = options.directory;
  }

  /** Listens for all that are on record. One that cannot is told of, and is no reason not to start. */
  async start(): Promise<void> {
    for (const { name } of await this.#parts.records.plugins()) {
      await this.#inTurn(() => this.#listen(name)).catch(async (error: unknown) => {
        const what = error instanceof Error ? error.message : String(error);
        this.#problems.set(name, what);
        await tell(this.#parts, 'plugin.away', { subject: `plugin/${name}`, what });
      });
    }
  }

  /** Listens, from now on at each start. Enabled already, it stays so. Throws PLUGIN_SOCKET or PLUGIN_LIMIT. */
  enable(name: string): Promise<PluginState> {
    checkName(name);
    return this.#inTurn(async () => {
      const { records } = this.#parts;
      const others = (await records.plugins()).filter((plugin) => plugin.name !== name);
      if (others.length >= PLUGIN_COUNT_MAX) {
        throw new Refusal('PLUGIN_LIMIT', { plugin: name, count: others.length });
      }
      await this.#listen(name);
      await records.change({ puts: [{ key: `plugin/${name}`, record: { name } }] });
      return this.#stateOf(name);
    });
  }

  /** Ends it, for good. False: it was not enabled. Volumes that it made stay, and so does what is mounted. */
  disable(name: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const { records } = this.#parts;
      const isThere = (await records.plugins()).some((plugin) => plugin.name === name);
      await records.change({ deletes: [`plugin/${name}`] });
      await this.#end(name);
      this.#problems.delete(name);
      return isThere;
    });
  }

  async list(): Promise<PluginState[]> {
    return (await this.#parts.records.plugins()).map(({ name }) => this.#stateOf(name));
  }

  /** Stops listening; what is on record listens at the next start. */
  async close(): Promise<void> {
    for (const name of this.#servers.keys()) await this.#inTurn(() => this.#end(name));
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    return this.#parts.turnstile.enter('plugins', task);
  }

  #stateOf(name: string): PluginState {
    return { name, socketPath: this.#pathOf(name), problem: this.#problems.get(name) };
  }

  #pathOf(name: string): string {
    return path.join(this.#directory, `${name}.sock`);
  }

  async #listen(name: string): Promise<void> {
    if (this.#servers.has(name)) return;
    const { made, records } = this.#parts;
    const socketPath = this.#pathOf(name);
    const driver = new VolumeDriver(name, { records, volumes: this.#volumes });
    const app = await openPluginServer(driver);
    try {
      const socket = this.#socket(socketPath);
      await removeStaleSocket(socketPath);
      made.record(socket);
      await listenForUsAlone(app, socketPath);
      this.#servers.set(name, { app, made: socket });
      this.#problems.delete(name);
    } catch (error) {
      await app.close();
      throw new Refusal('PLUGIN_SOCKET', { plugin: name, path: socketPath, problem: whyOf(error) });
    }
  }

  /** The socket, with the folders that are made for it now, or were made for it or another of ours before. */
  #socket(socketPath: string): MadeSocket {
    const before = this.#parts.made
      .entries()
      .flatMap((each) => (each.kind === 'socket' ? (each.parents ?? []) : []));
    const parents = [...new Set([...before, ...makeDirectory(this.#directory, 0o755)])];
    return { kind: 'socket', path: socketPath, parents };
  }

  async #end(name: string): Promise<void> {
    const server = this.#servers.get(name);
    if (server === undefined) return;
    this.#servers.delete(name);
    await server.app.close();
    this.#parts.made.forget(server.made);
    for (const folder of server.made.parents?.toReversed() ?? []) removeEmpty(folder);
  }
}

/** Whoever may use the socket may mount volumes: Docker and Podman of root. */
async function listenForUsAlone(app: FastifyInstance, socketPath: string): Promise<void> {
  const mask = process.umask(0o177);
  try {
    await app.listen({ path: socketPath });
  } finally {
    process.umask(mask);
  }
}

function whyOf(error: unknown): string {
  const { errno } = error as NodeJS.ErrnoException;
  if (error instanceof ErrnoError) return 'something that runs has it';
  return errno === undefined ? String(error) : errnoInWords(-errno);
}
