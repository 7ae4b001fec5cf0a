/** The REST API in this process, over an engine and an attacher that only remember what they were told. For tests of the API. */

import fs from 'node:fs';
import path from 'node:path';

import { LineServer } from '../../src/attacher/line-server.ts';
import { MadeLog } from '../../src/attacher/made-log.ts';
import { ScrubKeeper } from '../../src/control/cluster/scrub-keeper.ts';
import { ReplicaChanges } from '../../src/control/cluster/replica-changes.ts';
import { VolumePlugins } from '../../src/control/docker/plugins.ts';
import { JoinTokens } from '../../src/control/cluster/join-tokens.ts';
import { NodeRegistry } from '../../src/control/cluster/node-registry.ts';
import { Drives } from '../../src/control/drives.ts';
import {
  type Installation,
  installationAt,
  makeDirectories,
} from '../../src/control/installation.ts';
import { Explainer } from '../../src/control/explainer.ts';
import { LineClient } from '../../src/control/line-client.ts';
import type { ControlParts } from '../../src/control/parts.ts';
import { ProgressBoard } from '../../src/control/progress.ts';
import { Metrics } from '../../src/control/metrics.ts';
import { RecordsStore } from '../../src/control/records-store.ts';
import { openRest } from '../../src/control/rest.ts';
import { changeSettings } from '../../src/control/settings.ts';
import { StatusReader } from '../../src/control/status.ts';
import { Trash } from '../../src/control/trash.ts';
import { Volumes } from '../../src/control/volumes.ts';
import type { Log } from '../../src/model/log.ts';
import { ProcessWatch } from '../../src/env/node/process-watch.ts';
import { Turnstile } from '../../src/lib/turnstile.ts';
import { SqliteStore } from '../../src/metadata/sqlite-store.ts';
import { Refusal } from '../../src/model/errors.ts';
import type { JsonObject } from '../../src/wire/line-protocol.ts';
import { makeTestDirectory, removeTestDirectory } from './control-rig.ts';

/** An engine that remembers. Whatever it refuses, the real one refuses too. */
class EngineDouble {
  readonly drives: Map<string, JsonObject> = new Map();
  readonly volumes: Map<string, JsonObject> = new Map();
  /** Formats and removals of volumes wait for it. */
  held: Promise<void> = Promise.resolve();
  /** What lies at any path, if somebody asks. */
  identity: JsonObject = {};
  /** The volume that cannot be removed. */
  stuck: string | undefined;

  readonly onCall = async (call: string, args: JsonObject): Promise<JsonObject> => {
    const { driveId, uuid } = { driveId: String(args['driveId']), uuid: String(args['uuid']) };
    switch (call) {
      case 'drive.format':
        await this.held;
        return { driveId, sizeBytes: args['sizeBytes'] ?? 0 };
      case 'drive.open':
        this.drives.set(driveId, { driveId, state: 'open', freeBytes: 1e12 });
        return {};
      case 'drive.close':
        this.drives.delete(driveId);
        return {};
      case 'drive.identify':
        return this.identity;
      case 'replica.list':
        return { replicas: [], more: false };
      case 'drive.list':
        return { drives: [...this.drives.values()] };
      case 'volume.create':
        this.volumes.set(uuid, { uuid, driveId, sizeBytes: args['sizeBytes'], state: 'idle' });
        return {};
      case 'volume.delete':
        await this.held;
        if (uuid === this.stuck) {
          throw new Refusal('ENGINE_REFUSED', { call, problem: 'the volume is stuck' });
        }
        this.volumes.delete(uuid);
        return {};
      case 'volume.list': {
        const wanted = args['uuids'];
        const isWanted = (volume: JsonObject): boolean =>
          Array.isArray(wanted) && wanted.includes(volume['uuid']);
        return { volumes: [...this.volumes.values()].filter(isWanted) };
      }
      default:
        return this.#onVolume(call, uuid, args);
    }
  };

  #onVolume(call: string, uuid: string, args: JsonObject): JsonObject {
    const volume = this.volumes.get(uuid);
    if (volume === undefined) throw new Refusal('VOLUME_NOT_FOUND', { volume: uuid, hint: '' });
    if (call === 'volume.status') return volume;
    if (call === 'volume.resize') {
      this.volumes.set(uuid, { ...volume, sizeBytes: args['sizeBytes'] });
      return {};
    }
    const attachId = call === 'volume.attach' ? args['attachId'] : undefined;
    this.volumes.set(uuid, { ...volume, attachId });
    return { socketPath: `/run/${String(attachId)}.sock`, exportName: attachId };
  }
}

type Logged = { readonly event: string; readonly details: object };

export class RestDouble {
  readonly installation: Installation;
  readonly records: RecordsStore;
  readonly app: Awaited<ReturnType<typeof openRest>>;
  readonly progress: ProgressBoard;
  readonly trash: Trash;
  readonly log: Log;
  /** What was logged. */
  readonly logged: readonly Logged[];
  readonly #engine: EngineDouble;
  readonly #close: () => Promise<void>;

  private constructor(made: {
    readonly installation: Installation;
    readonly records: RecordsStore;
    readonly app: Awaited<ReturnType<typeof openRest>>;
    readonly progress: ProgressBoard;
    readonly trash: Trash;
    readonly log: Log;
    readonly logged: readonly Logged[];
    readonly engine: EngineDouble;
    readonly close: () => Promise<void>;
  }) {
    this.installation = made.installation;
    this.records = made.records;
    this.app = made.app;
    this.progress = made.progress;
    this.trash = made.trash;
    this.log = made.log;
    this.logged = made.logged;
    this.#engine = made.engine;
    this.#close = made.close;
  }

  /** Everything that a request could change, apart from the operations' records. */
  async state(): Promise<string> {
    const drives = await this.records.drives();
    const volumes = await this.records.volumes();
    const folder = path.join(this.installation.directory, 'drives');
    return JSON.stringify([
      drives,
      volumes,
      await this.records.trash(),
      await this.records.settings(),
      await this.records.plugins(),
      [...this.#engine.drives],
      [...this.#engine.volumes],
      fs.readdirSync(folder),
      fs.readdirSync(path.join(this.installation.directory, 'mnt')),
    ]);
  }

  /** A drive of this uuid, opened once, lies at any path that is asked for. */
  layDrive(driveUuid: string): void {
    this.#engine.identity = { driveUuid, generation: 0, incarnation: 1 };
  }

  /** Formats and removals of volumes that come now wait until the function that is returned is called. */
  holdEngine(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#engine.held = promise;
    return resolve;
  }

  /** This volume cannot be removed; undefined: each can. */
  stick(uuid: string | undefined): void {
    this.#engine.stuck = uuid;
  }

  /** Where a test may keep what it needs beside the installation; removed by {@link close}. */
  get directory(): string {
    return path.dirname(this.installation.directory);
  }

  async close(): Promise<void> {
    await this.#close();
    await removeTestDirectory(this.directory);
  }

  /** `node`: whose control it is; without it that of a single machine. */
  static async start(node?: string): Promise<RestDouble> {
    const directory = path.join(makeTestDirectory(), 'data');
    const installation = installationAt(directory);
    makeDirectories(installation);
    const engine = new EngineDouble();
    const servers = [
      await LineServer.listen(installation.engineSocket, {
        peer: 'engine',
        hello: () => ({ io: { kind: 'double' } }),
        onCall: engine.onCall,
      }),
      await LineServer.listen(installation.attacherSocket, {
        peer: 'attacher',
        hello: () => ({}),
        onCall: async (call) => {
          if (call === 'detach') return {};
          throw new Refusal('ATTACHER_REFUSED', { call, problem: 'it is a double' });
        },
      }),
    ];
    let nextId = 1;
    const store = new SqliteStore({
      path: ':memory:',
      bootMs: () => 0,
      bootId: 'boot',
      randomId: () => String(nextId++),
    });
    const logged: Logged[] = [];
    const log: Log = (event, details = {}) => logged.push({ event, details });
    const parts = { ...partsFor(installation, store, node), log };
    const drives = new Drives(parts);
    const volumes = new Volumes(parts, drives);
    const plugins = new VolumePlugins(parts, {
      volumes,
      directory: path.join(directory, 'plugins'),
    });
    const trash = new Trash(parts, volumes.dataOf);
    const app = await openApp(parts, { drives, volumes, plugins, trash });
    const close = async (): Promise<void> => {
      await app.close();
      await plugins.close();
      parts.engine.close();
      parts.attacher.close();
      await Promise.all(servers.map((server) => server.close()));
      await store.close();
    };
    const { records, progress } = parts;
    return new RestDouble({
      installation,
      records,
      app,
      progress,
      trash,
      log,
      logged,
      engine,
      close,
    });
  }
}

function partsFor(
  installation: Installation,
  store: SqliteStore,
  node: string | undefined,
): ControlParts {
  let nextId = 1;
  return {
    installation,
    records: new RecordsStore(store, installation.directory, node),
    node,
    engine: new LineClient(installation.engineSocket, 'ENGINE_UNREACHABLE'),
    attacher: new LineClient(installation.attacherSocket, 'ATTACHER_UNREACHABLE'),
    made: new MadeLog(installation.runDirectory),
    log: () => undefined,
    turnstile: new Turnstile(),
    wallMs: () => Date.now(),
    bootId: 'boot',
    newId: () => `id-${nextId++}`,
    newAttachId: () => String(nextId++).padStart(32, '0'),
    progress: new ProgressBoard(),
    askReconcile: () => undefined,
    onStep: () => undefined,
  };
}

function openApp(
  parts: ControlParts,
  uses: Pick<Parameters<typeof openRest>[0], 'drives' | 'volumes' | 'plugins' | 'trash'>,
): ReturnType<typeof openRest> {
  const status = new StatusReader(parts, { version: '0' });
  return openRest({
    ...uses,
    version: '0',
    records: parts.records,
    progress: parts.progress,
    replicaChanges: new ReplicaChanges(parts, undefined),
    scrubs: new ScrubKeeper(parts),
    nodes: new NodeRegistry(parts),
    joinTokens: new JoinTokens(parts, undefined),
    status: () => status.read(),
    changeSettings: (changed) => changeSettings(parts, changed),
    metrics: new Metrics(parts, { version: '0', watch: new ProcessWatch(() => undefined) }),
    explainer: new Explainer(parts, {
      volumes: uses.volumes,
      usage: { lookedAtMs: parts.wallMs() },
    }),
    wallMs: parts.wallMs,
    release: async () => ({ problems: [], stopped: [], stalled: [] }),
    tcp: parts,
  });
}
