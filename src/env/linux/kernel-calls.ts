/**
 * Calls of Linux that mounting and loop devices need, with their signatures. They run on a thread of Node's pool, because
 * each of them may wait for an answer that this very process has to give (the kernel asks a FUSE file's server for its
 * attributes inside LOOP_CONFIGURE). All are cold; kernel-calls.test.ts exercises each.
 */

import process from 'node:process';

import { ENOSYS } from '../../model/errno.ts';
import { openFfi } from '../ffi.ts';

export const MOUNT_NOSUID = 2;
export const MOUNT_NODEV = 4;
export const MOUNT_NOEXEC = 8;
export const MOUNT_NOATIME = 1024;
export const UNMOUNT_FORCE = 1;
export const UNMOUNT_DETACH = 2;

export type KernelCalls = {
  /** Resolves with 0 or the errno. */
  mount(options: {
    readonly source: string;
    readonly target: string;
    readonly type: string;
    readonly flags: number;
    readonly data: string;
  }): Promise<number>;
  /** Resolves with 0 or the errno. */
  unmount(target: string, flags: number): Promise<number>;
  /**
   * Resolves with what the call returned, or the negative errno. A buffer belongs to the call until then. Buffers have
   * more than 64 bytes: the engine moves smaller ones.
   */
  ioctl(fd: number, request: number, argument: number | ArrayBuffer): Promise<number>;
};

type Asynchronous<Values extends unknown[]> = {
  async(...values: [...Values, (error: Error | null, result: number) => void]): void;
};

/** Another system has none of them, and the attacher no kind of device there. */
const NONE: KernelCalls = {
  mount: () => Promise.resolve(ENOSYS),
  unmount: () => Promise.resolve(ENOSYS),
  ioctl: () => Promise.resolve(-ENOSYS),
};

/** Looks the functions up. Throws where koffi or one of them is missing. */
export function openKernelCalls(): KernelCalls {
  if (process.platform !== 'linux') return NONE;
  const ffi = openFfi();
  const mount = ffi.func<Asynchronous<[string, string, string, number, string]>>(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  );
  const unmount = ffi.func<Asynchronous<[string, number]>>(
    'int umount2(const char *target, int flags)',
  );
  // Variadic in C; one argument in a register is passed alike on x86-64 and arm64 Linux.
  const ioctl = ffi.func<Asynchronous<[number, number, number]>>(
    'int ioctl(int fd, unsigned long request, uintptr_t argument)',
  );

  /** Resolves with the result, or the negative errno: koffi hands the thread's errno over to the callback. */
  const start = <Values extends unknown[]>(
    call: Asynchronous<Values>,
    ...values: Values
  ): Promise<number> =>
    new Promise((resolve, reject) => {
      call.async(...values, (error, result) => {
        const errno = ffi.errno();
        if (error) reject(error);
        else resolve(result < 0 ? -errno : result);
      });
    });

  return {
    mount: async ({ source, target, type, flags, data }) =>
      -(await start(mount, source, target, type, flags, data)),
    unmount: async (target, flags) => -(await start(unmount, target, flags)),
    ioctl: async (fd, request, argument) => {
      if (typeof argument === 'number') return start(ioctl, fd, request, argument);
      const result = await start(ioctl, fd, request, ffi.address(argument));
      // Named after the call, so that the buffer outlives it.
      return argument.byteLength > 0 ? result : -1;
    },
  };
}
