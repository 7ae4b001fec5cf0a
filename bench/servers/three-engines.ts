/** A volume with a replica on each of three engines over TCP, one beside the head, all on one machine and disk. */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { EngineCluster } from '../../test/rigs/engine-cluster.ts';
import { RecordKeeper } from '../../test/rigs/record-keeper.ts';
import type { Target } from '../lib/fio.ts';
import { field } from '../lib/json.ts';
import { waitFor } from '../lib/processes.ts';
import type { RigFolder } from '../lib/rig.ts';
import type { Server } from '../lib/server.ts';

const ALL_FUA = {
  NODE_OPTIONS: `--import=${new URL('../../test/hooks/load.mjs', import.meta.url).href}`,
  HOLDFAST_TEST_HOOKS: 'all-fua',
};
/** Room for what is written anew before the old is free, and for the log. */
const DRIVE_VOLUMES = 3;
const REBUILD_MS_MAX = 120_000;
const VOLUME = { uuid: 'e0'.repeat(16), attachId: 'a7'.repeat(16) };

export type ThreeEnginesOptions = {
  readonly name: string;
  readonly sealed: boolean;
  /** Each write of fio, which cannot ask for it, has FUA. */
  readonly isFua: boolean;
  /** Volumes that each drive has room for: 3, unless others come beside the one with replicas. */
  readonly driveVolumes?: number;
};

export class ThreeEngines implements Server {
  readonly name: string;
  readonly acknowledgedWhen: string;
  readonly #folder: RigFolder;
  readonly #options: ThreeEnginesOptions;
  readonly #drives: string;
  #cluster: EngineCluster | undefined;
  #keeper: RecordKeeper | undefined;
  /** Of the record when it was last whole: a member that is lost, or back, changes it. */
  #epoch = 0;

  constructor(folder: RigFolder, options: ThreeEnginesOptions) {
    this.#folder = folder;
    this.#options = options;
    this.name = options.name;
    this.acknowledgedWhen = options.isFua
      ? 'durable on all three'
      : "data and log record of all three in the disk's cache (O_DIRECT), checksummed";
    this.#drives = join(folder.path, options.name.replaceAll(/\W+/gu, '-'));
  }

  async version(): Promise<string> {
    const hello = await this.#cluster?.members[0]?.engine.call('hello', { protocol: 1 });
    return `${String(field(hello, 'version'))}, ${String(field(hello, 'io.kind'))}`;
  }

  async start(sizeBytes: number): Promise<Target> {
    mkdirSync(this.#drives);
    const { sealed, isFua, driveVolumes = DRIVE_VOLUMES } = this.#options;
    const cluster = new EngineCluster({
      sealed,
      driveBytes: driveVolumes * sizeBytes,
      isSparse: false,
      volumeBytes: sizeBytes,
      folder: this.#drives,
      ...(isFua ? { env: ALL_FUA } : {}),
    });
    this.#cluster = cluster;
    await cluster.start();
    for (const pid of this.pids()) this.#folder.recordProcess(pid);
    this.#keeper = new RecordKeeper({ ...VOLUME, sizeBytes }, cluster.lives);
    const [first] = cluster.members;
    const socket = await this.#keeper.serve(first!.engine, first!.replica, cluster.places);
    return { kind: 'nbd', uri: `nbd+unix:///${VOLUME.attachId}?socket=${socket}`, sizeBytes };
  }

  /** Its engines and its record, once it has started. */
  get parts(): { readonly cluster: EngineCluster; readonly keeper: RecordKeeper } {
    const cluster = this.#cluster;
    const keeper = this.#keeper;
    if (cluster === undefined || keeper === undefined) throw new Error('Not started');
    return { cluster, keeper };
  }

  /** Whether all three replicas have been in S since the last call. If not, it waits until they are again. */
  async wasWhole(): Promise<boolean> {
    const keeper = this.#keeper;
    const [head, ...others] = this.#cluster?.members ?? [];
    if (keeper === undefined || head === undefined) return false;
    const isWhole = (): boolean => keeper.record.members.length === others.length + 1;
    const ask = async (): Promise<boolean> => {
      if (isWhole()) return true;
      // A head that is busy with its set forgets the wish.
      for (const { replica, node } of others) {
        await head.engine.call('head.rebuild', { uuid: VOLUME.uuid, replica, node });
      }
      return false;
    };
    await waitFor('all replicas are in S', ask, { timeoutMs: REBUILD_MS_MAX, everyMs: 250 });
    const { epoch } = keeper.record;
    const wasWhole = epoch === this.#epoch;
    this.#epoch = epoch;
    return wasWhole;
  }

  pids(): readonly number[] {
    const members = this.#cluster?.members ?? [];
    return members.flatMap(({ engine }) => (engine.pid === undefined ? [] : [engine.pid]));
  }

  async stop(): Promise<void> {
    this.#keeper?.stop();
    await this.#cluster?.remove();
    this.#cluster = undefined;
    rmSync(this.#drives, { recursive: true, force: true });
  }
}
