/**
 * Paths in records. Those inside the installation are kept relative to it, so that one that was moved, or is a copy, has its own: the
 * records of a copy must never lead to what the other one serves.
 */

import fs from 'node:fs';
import path from 'node:path';

import { runDirectoryOf } from '../env/node/run-directory.ts';
import type { DriveRecord, VolumeRecord } from '../model/records.ts';

export class RecordPaths {
  readonly #directory: string;
  /** As the kernel names it: mounts are known by that. */
  readonly #realDirectory: string;
  readonly #sockets: string;

  readonly #node: string | undefined;

  /** `directory`: the installation's, absolute; `node`: undefined on a single machine. What is another node's stays as it is kept. */
  constructor(directory: string, node?: string) {
    this.#node = node;
    this.#directory = directory;
    this.#realDirectory = fs.existsSync(directory) ? fs.realpathSync(directory) : directory;
    this.#sockets = path.join(runDirectoryOf(directory), 'nbd');
  }

  /** A record as it is kept under `key`. */
  toKept(key: string, record: object): object {
    if (key.startsWith('drive/')) return this.#keptDrive(record as DriveRecord);
    if (key.startsWith('volume/')) return this.#keptVolume(record as VolumeRecord);
    return record;
  }

  #keptDrive(record: DriveRecord): DriveRecord {
    return { ...record, path: pathFrom(this.#directory, record.path) };
  }

  #keptVolume(record: VolumeRecord): VolumeRecord {
    const mountPath = (at: string): string =>
      pathFrom(this.#realDirectory, pathFrom(this.#directory, at));
    return withPaths(record, { mountPath, socketPath: (at) => path.basename(at) });
  }

  drive(kept: DriveRecord): DriveRecord {
    if (kept.node !== this.#node) return kept;
    return { ...kept, path: path.resolve(this.#directory, kept.path) };
  }

  volume(kept: VolumeRecord): VolumeRecord {
    if (kept.attachment?.node !== this.#node) return kept;
    return withPaths(kept, {
      mountPath: (at) => path.resolve(this.#realDirectory, at),
      socketPath: (at) => path.join(this.#sockets, path.basename(at)),
    });
  }
}

function withPaths(
  record: VolumeRecord,
  to: {
    readonly mountPath: (at: string) => string;
    readonly socketPath: (at: string) => string;
  },
): VolumeRecord {
  const { mount, attachment } = record;
  const socketPath = attachment?.socketPath;
  return {
    ...record,
    ...(mount === undefined ? {} : { mount: { ...mount, path: to.mountPath(mount.path) } }),
    ...(attachment === undefined || socketPath === undefined
      ? {}
      : { attachment: { ...attachment, socketPath: to.socketPath(socketPath) } }),
  };
}

/** `at` as it is kept: relative where it is below `directory`, as it is elsewhere. */
export function pathFrom(directory: string, at: string): string {
  if (!path.isAbsolute(at)) return at;
  const relative = path.relative(directory, at);
  const isBelow = relative !== '' && relative !== '..' && !relative.startsWith('../');
  return isBelow ? relative : at;
}
