/** A volume with three replicas on three drives of one engine, all on one disk: what replication itself costs, without a network. */

import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { EngineProcess } from '../../test/rigs/engine-process.ts';
import { RecordKeeper } from '../../test/rigs/record-keeper.ts';
import type { Target } from '../lib/fio.ts';
import { field } from '../lib/json.ts';
import type { RigFolder } from '../lib/rig.ts';
import type { Server } from '../lib/server.ts';
import { driveSizeBytes } from './holdfast.ts';

const VOLUME = { uuid: 'e0'.repeat(16), attachId: 'a7'.repeat(16) };
const REPLICAS = ['11', '22', '33'].map((digits) => digits.repeat(16));

export class Replicated implements Server {
  readonly name = 'three replicas';
  readonly acknowledgedWhen =
    "data and log record of all three in the disk's cache (O_DIRECT), checksummed";
  readonly #folder: RigFolder;
  readonly #drives: string;
  #engine: EngineProcess | undefined;
  #keeper: RecordKeeper | undefined;

  constructor(folder: RigFolder) {
    this.#folder = folder;
    this.#drives = join(folder.path, 'replicas');
  }

  async version(): Promise<string> {
    const hello = await this.#engine?.call('hello', { protocol: 1 });
    return `${String(field(hello, 'version'))}, ${String(field(hello, 'io.kind'))}`;
  }

  async start(sizeBytes: number): Promise<Target> {
    const engine = new EngineProcess();
    this.#engine = engine;
    mkdirSync(this.#drives);
    await engine.start();
    this.#folder.recordProcess(engine.pid);
    const members: [string, number][] = [];
    for (const replica of REPLICAS) {
      const drive = { driveId: replica, path: join(this.#drives, `${replica}.img`) };
      const size = { sizeBytes: driveSizeBytes(sizeBytes), sparse: false };
      await engine.call('drive.format', { ...drive, ...size });
      await engine.call('drive.open', drive);
      const made = { driveId: replica, replica, sizeBytes };
      const { life } = await engine.call('replica.create', made);
      members.push([replica, Number(life)]);
    }
    this.#keeper = new RecordKeeper({ ...VOLUME, sizeBytes }, members);
    const socket = await this.#keeper.serve(engine, REPLICAS[0]);
    return { kind: 'nbd', uri: `nbd+unix:///${VOLUME.attachId}?socket=${socket}`, sizeBytes };
  }

  pids(): readonly number[] {
    return this.#engine?.pid === undefined ? [] : [this.#engine.pid];
  }

  async stop(): Promise<void> {
    this.#keeper?.stop();
    await this.#engine?.remove();
    rmSync(this.#drives, { recursive: true, force: true });
  }
}
