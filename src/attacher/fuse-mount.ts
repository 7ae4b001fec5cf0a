/**
 * A FUSE mount of one regular file, without fusermount: /dev/fuse opened and mounted by hand. The mount's root is the file
 * itself, so that there is no directory to walk, list or name things in, and one mount for each volume, so that one can be
 * aborted or unmounted without the others.
 */

import { closeSync, constants, openSync } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';

import type { IoKind } from '../env/io.ts';
import {
  type KernelCalls,
  MOUNT_NODEV,
  MOUNT_NOEXEC,
  MOUNT_NOSUID,
  UNMOUNT_DETACH,
  UNMOUNT_FORCE,
} from '../env/linux/kernel-calls.ts';
import { EBUSY, EINVAL, ENOENT, ErrnoError } from '../model/errno.ts';
import { FILE_MODE } from '../wire/fuse/fuse-reply.ts';

const DEVICE_PATH = '/dev/fuse';
/** Shown as the type of the mount; what stands behind the point is only a name. */
export const FUSE_TYPE = 'fuse.holdfast';

export class FuseMount {
  readonly path: string;
  /** The descriptor of /dev/fuse. */
  readonly fd: number;
  readonly #calls: KernelCalls;

  /** Of a mount that there is, whose descriptor of /dev/fuse is `fd`. */
  constructor(calls: KernelCalls, options: { readonly path: string; readonly fd: number }) {
    this.#calls = calls;
    this.path = options.path;
    this.fd = options.fd;
  }

  /** Mounts at `path`, which is made. Nothing is answered before somebody reads {@link FuseMount.fd}. */
  static async open(
    calls: KernelCalls,
    options: { readonly path: string; readonly source: string; readonly ioKind: IoKind },
  ): Promise<FuseMount> {
    const { path, source } = options;
    await (await open(path, 'w', 0o600)).close();
    // io_uring waits for a descriptor that does not block, and on one that does it may block in the call that submits.
    // The Node maker has a thread for each read, which must block.
    const nonblock = options.ioKind === 'io_uring' ? constants.O_NONBLOCK : 0;
    const fd = openSync(DEVICE_PATH, constants.O_RDWR | nonblock);
    const mode = FILE_MODE.toString(8);
    const errno = await calls.mount({
      source,
      target: path,
      type: FUSE_TYPE,
      flags: MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC,
      data: `fd=${fd},rootmode=${mode},user_id=0,group_id=0`,
    });
    if (errno === 0) return new FuseMount(calls, { path, fd });
    closeSync(fd);
    await rm(path, { force: true });
    throw new ErrnoError({ errno, syscall: 'mount', path });
  }

  /** Opens the file, through the kernel and thus through whoever serves it. */
  openFile(): Promise<FileHandle> {
    return open(this.path, constants.O_RDWR);
  }

  /** Has the kernel ask for the attributes, so that it learns of a new size. */
  async refresh(): Promise<void> {
    await stat(this.path);
  }

  /** Unmounts; by then nobody has the file open. With `force` what is unanswered fails, and who has it open keeps a dead file. */
  async unmount(options: { readonly force: boolean }): Promise<void> {
    if (options.force) await abortFuse(this.#calls, this.path);
    const flags = options.force ? UNMOUNT_DETACH : 0;
    const errno = await this.#calls.unmount(this.path, flags);
    if (errno !== 0 && errno !== EINVAL && errno !== ENOENT) {
      throw new ErrnoError({ errno, syscall: 'umount', path: this.path });
    }
  }

  /** After the kernel ended the connection and nothing is in flight on the descriptor. */
  async close(): Promise<void> {
    closeSync(this.fd);
    await rm(this.path, { force: true });
  }
}

/** Ends the connection of the FUSE mount at `path`: what waits for it fails at once. The mount stays. */
export async function abortFuse(calls: KernelCalls, path: string): Promise<void> {
  const errno = await calls.unmount(path, UNMOUNT_FORCE);
  // Busy is what it says while a loop device holds the file; the connection is ended by then.
  if (errno !== 0 && errno !== EBUSY && errno !== EINVAL && errno !== ENOENT) {
    throw new ErrnoError({ errno, syscall: 'umount', path });
  }
}
