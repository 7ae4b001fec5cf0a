/** One Holdfast installation, driven through its command line as a user's script would. */

import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { field, listField, numberField, numberFields, optionalField, textField } from './json.ts';
import { isEnding, processTree, residentBytes, runOk } from './processes.ts';

export type InstallationOptions = {
  /** Made by `up`, removed by `remove`. */
  readonly dataFolder: string;
  /** Added to the environment of every process of the installation. */
  readonly env?: Readonly<Record<string, string>>;
};

export type DriveStatus = {
  readonly driveId: string;
  readonly path: string;
  readonly state: string;
  readonly counters: Readonly<Record<string, number>>;
};

export type Status = {
  readonly supervisorPid: number;
  readonly enginePid: number;
  /** The supervisor, then engine, attacher and control: killed in this order, nothing is restarted. */
  readonly pids: readonly number[];
  readonly ioKind: string;
  readonly drives: readonly DriveStatus[];
};

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));
export const HOLDFAST = join(REPOSITORY, 'bin', 'holdfast');

export class Installation {
  readonly dataFolder: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(options: InstallationOptions) {
    this.dataFolder = options.dataFolder;
    this.#env = { ...process.env, ...options.env };
  }

  /** Runs one command of the CLI on this installation; throws with its words unless it exits with 0. */
  async command(args: readonly string[]): Promise<string> {
    if (isEnding() && args[0] === 'up') throw new Error('Not started, the rig ends');
    const words = [...args, '--data', this.dataFolder];
    return await runOk(HOLDFAST, words, { env: this.#env, finishes: true });
  }

  async json(args: readonly string[]): Promise<unknown> {
    return JSON.parse(await this.command([...args, '--output', 'json']));
  }

  async up(options: { readonly driveSizeBytes: number }): Promise<void> {
    await this.command(['up', '--detach', '--drive-size', String(options.driveSizeBytes)]);
  }

  /** Starts it again with the drives it has. */
  async start(): Promise<void> {
    await this.command(['up', '--detach']);
  }

  async down(): Promise<void> {
    await this.command(['down']);
  }

  /** Ends it, if it runs, and deletes its data. */
  async remove(): Promise<void> {
    try {
      await this.down();
    } catch {
      // It never came up, or is down already: what counts is that nothing of it is left.
    }
    rmSync(this.dataFolder, { recursive: true, force: true });
  }

  async createVolume(name: string, sizeBytes: number): Promise<void> {
    await this.command(['volume', 'create', name, '--size', String(sizeBytes)]);
  }

  async attachNbd(name: string): Promise<string> {
    return textField(await this.json(['volume', 'attach', name, '--nbd']), 'uri');
  }

  async detach(name: string): Promise<void> {
    await this.command(['volume', 'detach', name]);
  }

  async removeVolume(name: string): Promise<void> {
    await this.command(['volume', 'rm', name, '--now', '--yes']);
  }

  /** Makes a file system on the volume, if it has none, and mounts it. Returns the mount point. */
  async mount(name: string, fileSystem: 'ext4' | 'xfs'): Promise<string> {
    return textField(await this.json(['volume', 'mount', name, '--fs', fileSystem]), 'mount.path');
  }

  async unmount(name: string): Promise<void> {
    await this.command(['volume', 'unmount', name]);
  }

  async status(): Promise<Status> {
    return parseStatus(await this.json(['status']));
  }

  async version(): Promise<string> {
    return (await runOk('git', ['-C', REPOSITORY, 'describe', '--always', '--dirty'])).trim();
  }
}

/** Resident bytes of every process of the installation together. */
export function installationResidentBytes(status: Status): number {
  return status.pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
}

/** Reads `holdfast status --output json`. */
export function parseStatus(value: unknown): Status {
  const enginePid = numberField(value, 'processes.engine.pid');
  const supervisorPid = numberField(value, 'processes.supervisor.pid');
  const pids = new Set<number>([supervisorPid, enginePid]);
  for (const role of ['supervisor', 'attacher', 'control']) {
    const pid = optionalField(optionalField(optionalField(value, 'processes'), role), 'pid');
    if (typeof pid === 'number') for (const each of processTree(pid)) pids.add(each);
  }
  const io = field(value, 'io');
  return {
    supervisorPid,
    enginePid,
    pids: [...pids],
    ioKind: typeof io === 'string' ? io : textField(io, 'kind'),
    drives: listField(value, 'drives').map((drive) => ({
      driveId: textField(drive, 'driveId'),
      path: textField(drive, 'path'),
      state: textField(drive, 'state'),
      counters: numberFields(optionalField(drive, 'counters')),
    })),
  };
}
