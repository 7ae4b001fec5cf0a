/** The engine: its drives, its volumes, and the calls of engine.sock. docs/architecture.md has the table of calls. */

import type { Arena } from '../lib/arena.ts';
import type { Log } from '../model/log.ts';
import type { Env } from '../env/env.ts';
import { IoAsync } from '../env/io-async.ts';
import { Refusal } from '../model/errors.ts';
import { type JsonObject, LINE_PROTOCOL_VERSION } from '../wire/line-protocol.ts';
import {
  attachIdOf,
  driveIdOf,
  epochOf,
  flagOf,
  generationOf,
  pathOf,
  peersOf,
  sizeBytesOf,
  volumeUuid,
  volumeUuids,
} from './call-arguments.ts';
import { type Call, CONTROL_MEMORY_BYTES, ControlServer } from './control-server.ts';
import { type DriveListEntry, DRIVES_MEMORY_BYTES, Drives } from './drives.ts';
import { MemoryUses } from './memory-uses.ts';
import { Meters } from './meters.ts';
import { NBD_MEMORY_BYTES, NbdFrontend } from './nbd/frontend.ts';
import { type EngineNode, Peers } from './peers/peers.ts';
import { headCalls, replicaCalls } from './replicas/head-calls.ts';
import { DriveReplicas } from './replicas/drive-replicas.ts';
import { Heads, REPLICAS_MEMORY_BYTES } from './replicas/heads.ts';
import { Volumes } from './volumes.ts';

/** What the engine reserves of the arena. Most of it is never touched. */
export const ENGINE_MEMORY_BYTES: number =
  NBD_MEMORY_BYTES + DRIVES_MEMORY_BYTES + CONTROL_MEMORY_BYTES + REPLICAS_MEMORY_BYTES + 65_536;

export type EngineOptions = {
  readonly arena: Arena;
  readonly log: Log;
  readonly version: string;
  /** How the engine does I/O, and what the kernel refused it, for `hello`. */
  readonly io: JsonObject;
  readonly warnings: readonly string[];
  /** For `hello`, which is answered also where no descriptor is left to look at memory with. */
  readonly pid: number;
  /** Memory and CPU of the process, for `stats`. */
  readonly processStats: () => JsonObject;
  /** Directory of engine.sock and nbd/. */
  readonly runDirectory: string;
  /** Drives to open by itself. */
  readonly drives: readonly DriveListEntry[];
  /** Undefined: it is none of a cluster, and has to do with no other engine. Else the arena has PEERS_MEMORY_BYTES more. */
  readonly node: EngineNode | undefined;
  /** Called when the `shutdown` call has done its work, after its answer was given out. */
  readonly onShutdown: () => void;
};

export class Engine {
  readonly #env: Env;
  readonly #options: EngineOptions;
  readonly #drives: Drives;
  readonly #meters = new Meters();
  readonly #volumes: Volumes;
  readonly #heads: Heads;
  readonly #replicas: DriveReplicas;
  readonly #peers: Peers | undefined;
  /** A random id of this process. */
  readonly #instance: string;
  /** Resolves when the drives of the list are open and their volumes served. Calls wait for it. */
  #started: Promise<void> = Promise.resolve();
  #server: ControlServer | undefined;
  #stopped: Promise<void> | undefined;

  constructor(env: Env, options: EngineOptions) {
    this.#env = env;
    this.#options = options;
    const { arena, log } = options;
    const memory = new MemoryUses(arena.memory);
    const frontend = new NbdFrontend(env, arena, memory);
    this.#drives = new Drives(env, {
      arena,
      log,
      onOpened: () => frontend.runLast(),
      cluster: options.node?.self.cluster,
    });
    const served = {
      drives: this.#drives,
      frontend,
      meters: this.#meters,
      log,
      socketDirectory: `${options.runDirectory}/nbd`,
    };
    this.#instance = Buffer.from(env.random.bytes(16)).toString('hex');
    if (options.node !== undefined) {
      this.#peers = new Peers(env, {
        ...options.node,
        arena,
        log,
        engine: this.#instance,
        onConnection: () => this.#heads.keepTicking(),
      });
    }
    this.#heads = new Heads(env, { ...served, arena, memory, peers: this.#peers });
    this.#replicas = new DriveReplicas({ ...served, replicas: this.#heads.replicas });
    this.#volumes = new Volumes({ ...served, heads: this.#heads, nowMs: env.clock.wallMs() });
  }

  /** Listens for control, opens the drives of the list, serves what their records name. The Io must be running. */
  async start(): Promise<void> {
    const { arena, log, runDirectory, drives } = this.#options;
    this.#started = this.#openListed(drives);
    this.#server = await ControlServer.start(this.#env, {
      arena,
      log,
      ioAsync: new IoAsync(this.#env.io),
      path: `${runDirectory}/engine.sock`,
      calls: this.#calls(),
    });
    await this.#started;
    void this.#peers?.listen();
  }

  /** Orderly end: attachments drained, drives checkpointed and marked clean. The records keep the attach ids. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Disconnects control. */
  async disconnect(): Promise<void> {
    await this.#server?.stop();
  }

  async #openListed(drives: readonly DriveListEntry[]): Promise<void> {
    await Promise.all(drives.map((entry) => this.#drives.openListed(entry)));
    for (const drive of this.#drives.all()) {
      this.#replicas.open(drive);
      await this.#volumes.serveRecorded(drive);
    }
  }

  async #stop(): Promise<void> {
    await this.#started;
    await this.#heads.close();
    this.#peers?.close();
    await this.#volumes.closeAll();
    await this.#drives.closeAll();
  }

  #calls(): ReadonlyMap<string, Call> {
    const drives = this.#drives;
    const volumes = this.#volumes;
    const table: Record<string, Call> = {
      'drive.format': (args, onProgress) => this.#format(args, onProgress),
      'drive.identify': async (args) => ({ ...(await drives.identify(pathOf(args))) }),
      'drive.open': (args) => this.#openDrive(args),
      'drive.close': (args) => this.#closeDrive(driveIdOf(args)),
      'drive.grow': async (args, onProgress) => {
        const driveId = driveIdOf(args);
        const sparse = flagOf(args, 'sparse');
        await drives.get(driveId).grow({ sizeBytes: sizeBytesOf(args), sparse, onProgress });
        return drives.status(driveId);
      },
      'drive.list': () => ({ drives: drives.statuses() }),
      'volume.create': (args) =>
        volumes.create(driveIdOf(args), volumeUuid(args), sizeBytesOf(args)),
      'volume.delete': (args) => volumes.delete(volumeUuid(args)),
      'volume.resize': (args) => volumes.resize(volumeUuid(args), sizeBytesOf(args)),
      'volume.list': (args) =>
        args['uuids'] === undefined
          ? volumes.list(args['after'] === undefined ? '' : volumeUuid({ uuid: args['after'] }))
          : volumes.listed(volumeUuids(args)),
      'volume.status': (args) => volumes.status(volumeUuid(args)),
      'volume.meters': (args) =>
        this.#meters.page(args['after'] === undefined ? '' : volumeUuid({ uuid: args['after'] })),
      'volume.attach': (args) =>
        volumes.attach(volumeUuid(args), { attachId: attachIdOf(args), epoch: epochOf(args) }),
      'volume.detach': (args) => volumes.detach(volumeUuid(args), attachIdOf(args)),
      ...headCalls(this.#heads),
      ...replicaCalls(this.#replicas, this.#heads.replicas),
      'peers.set': (args) => this.#setPeers(args),
      stats: () => this.#stats(),
      shutdown: () => this.#shutdown(),
    };
    const calls = new Map<string, Call>([['hello', () => this.#hello()]]);
    for (const [name, call] of Object.entries(table)) {
      calls.set(name, async (args, onProgress) => {
        await this.#started;
        if (this.#stopped !== undefined && name !== 'shutdown') {
          throw new Refusal('INSTALLATION_STOPPING');
        }
        return call(args, onProgress);
      });
    }
    return calls;
  }

  #hello(): JsonObject {
    const { version, io, warnings, pid } = this.#options;
    return {
      protocol: LINE_PROTOCOL_VERSION,
      pid,
      instance: this.#instance,
      version,
      io,
      warnings: [...warnings, ...(this.#peers?.warnings ?? [])],
    };
  }

  #setPeers(args: JsonObject): JsonObject {
    const nodes = peersOf(args);
    if (this.#peers === undefined) {
      throw new Refusal('INPUT_INVALID', { problem: 'this engine is of no node of a cluster' });
    }
    this.#peers.set(nodes);
    return {};
  }

  #format(args: JsonObject, onProgress: Parameters<Call>[1]): Promise<JsonObject> {
    return this.#drives.format(
      { driveId: driveIdOf(args), path: pathOf(args) },
      {
        ...(args['sizeBytes'] === undefined ? {} : { sizeBytes: sizeBytesOf(args) }),
        sparse: flagOf(args, 'sparse'),
        force: flagOf(args, 'force'),
        onProgress: (progress) => {
          // Control asks for it again at the next start.
          if (this.#stopped !== undefined) throw new Refusal('INSTALLATION_STOPPING');
          onProgress(progress);
        },
      },
    );
  }

  async #openDrive(args: JsonObject): Promise<JsonObject> {
    const drive = await this.#drives.open({
      driveId: driveIdOf(args),
      path: pathOf(args),
      generation: generationOf(args),
    });
    this.#replicas.open(drive);
    await this.#volumes.serveRecorded(drive);
    return this.#drives.status(drive.driveId);
  }

  async #closeDrive(driveId: string): Promise<JsonObject> {
    const drive = this.#drives.all().find((each) => each.driveId === driveId);
    if (drive !== undefined && this.#volumes.hasAttached(drive)) {
      const attached = drive.store.volumes().filter((volume) => volume.attachId !== undefined);
      throw new Refusal('DRIVE_IN_USE', {
        drive: driveId,
        volumes: attached.map((volume) => `"${volume.uuid}"`).join(', '),
      });
    }
    const replicas = drive === undefined ? [] : this.#replicas.end(drive);
    await this.#drives.close(driveId);
    this.#replicas.forget(replicas);
    return {};
  }

  #stats(): JsonObject {
    const { arena, processStats } = this.#options;
    return {
      ...processStats(),
      arena: { sizeBytes: arena.sizeBytes, reservedBytes: arena.usedBytes },
      nbd: {
        attachments: this.#volumes.attachmentCount,
        connections: this.#volumes.connectionCount,
      },
      drives: this.#drives
        .all()
        .map(({ driveId, store }) => ({ driveId, counters: store.status().counters })),
    };
  }

  async #shutdown(): Promise<JsonObject> {
    await this.stop();
    this.#options.onShutdown();
    return {};
  }
}
