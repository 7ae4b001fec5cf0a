/** Loop devices of Linux: /dev/loop-control and the ioctls of drivers/block/loop.c. */

import { open } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

import { EBUSY, EINVAL, ENOENT, ENOTTY, ENXIO, ErrnoError } from '../../model/errno.ts';
import type { KernelCalls } from './kernel-calls.ts';

const CONTROL_PATH = '/dev/loop-control';
const LOOP_SET_FD = 0x4c00;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_SET_DIRECT_IO = 0x4c08;
const LOOP_SET_BLOCK_SIZE = 0x4c09;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const FLAG_DIRECT_IO = 16;

/** struct loop_info64, and where it lies in struct loop_config. */
const INFO_BYTES = 232;
const CONFIG_BYTES = 304;
const CONFIG_INFO_AT = 8;
const INFO_FLAGS_AT = 52;
const INFO_NAME_AT = 56;
const NAME_BYTES = 64;

/** Others take devices too, between our asking for a free one and our taking it. */
const CONFIGURE_TRIES_MAX = 32;

/** Makes, sizes and detaches loop devices. */
export class LoopDevices {
  readonly #calls: KernelCalls;

  constructor(calls: KernelCalls) {
    this.#calls = calls;
  }

  /** Finds a free device. It stays free until {@link LoopDevices.configure} takes it, if nobody else does before. */
  async findFree(): Promise<string> {
    const control = await open(CONTROL_PATH, 'r+');
    try {
      const number = await this.#calls.ioctl(control.fd, LOOP_CTL_GET_FREE, 0);
      if (number < 0) throw new ErrnoError({ errno: -number, syscall: 'LOOP_CTL_GET_FREE' });
      return `/dev/loop${number}`;
    } finally {
      await control.close();
    }
  }

  /**
   * Makes a device over the file `fd`, direct I/O, with sectors of `sectorBytes`, and returns its path. `label` (at most 63
   * bytes) is its lo_file_name. `beforeTake` is told each device before it is tried.
   */
  async configure(options: {
    readonly fd: number;
    readonly sectorBytes: number;
    readonly label: string;
    readonly beforeTake: (device: string) => void;
  }): Promise<string> {
    for (let tries = 0; tries < CONFIGURE_TRIES_MAX; tries += 1) {
      const device = await this.findFree();
      options.beforeTake(device);
      const errno = await this.#take(device, options);
      if (errno === 0) return device;
      if (errno !== EBUSY && errno !== ENXIO && errno !== ENOENT) {
        throw new ErrnoError({ errno, syscall: 'LOOP_CONFIGURE', path: device });
      }
    }
    throw new ErrnoError({ errno: EBUSY, syscall: 'LOOP_CONFIGURE' });
  }

  /** Frees a device, at once or, while somebody has it open, at the last close. One that is free already is no error. */
  async clear(device: string): Promise<void> {
    const result = await this.#onDevice(device, (fd) => this.#calls.ioctl(fd, LOOP_CLR_FD, 0));
    if (result < 0 && result !== -ENXIO && result !== -ENOENT) {
      throw new ErrnoError({ errno: -result, syscall: 'LOOP_CLR_FD', path: device });
    }
  }

  /** Makes the device as large as its file has become. */
  async updateCapacity(device: string): Promise<void> {
    const result = await this.#onDevice(device, (fd) =>
      this.#calls.ioctl(fd, LOOP_SET_CAPACITY, 0),
    );
    if (result < 0) {
      throw new ErrnoError({ errno: -result, syscall: 'LOOP_SET_CAPACITY', path: device });
    }
  }

  async #take(
    device: string,
    options: { readonly fd: number; readonly sectorBytes: number; readonly label: string },
  ): Promise<number> {
    const config = new ArrayBuffer(CONFIG_BYTES);
    const view = new DataView(config);
    view.setUint32(0, options.fd, true);
    view.setUint32(4, options.sectorBytes, true);
    view.setUint32(CONFIG_INFO_AT + INFO_FLAGS_AT, FLAG_DIRECT_IO, true);
    new Uint8Array(config, CONFIG_INFO_AT + INFO_NAME_AT, NAME_BYTES).set(
      new TextEncoder().encode(options.label).subarray(0, NAME_BYTES - 1),
    );
    const result = await this.#onDevice(device, (fd) =>
      this.#calls.ioctl(fd, LOOP_CONFIGURE, config),
    );
    // Linux before 5.8 has no LOOP_CONFIGURE.
    if (result === -EINVAL || result === -ENOTTY) return this.#takeInSteps(device, options, config);
    return result < 0 ? -result : 0;
  }

  async #takeInSteps(
    device: string,
    options: { readonly fd: number; readonly sectorBytes: number },
    config: ArrayBuffer,
  ): Promise<number> {
    const steps: [number, number | ArrayBuffer][] = [
      [LOOP_SET_FD, options.fd],
      [LOOP_SET_STATUS64, config.slice(CONFIG_INFO_AT, CONFIG_INFO_AT + INFO_BYTES)],
      [LOOP_SET_BLOCK_SIZE, options.sectorBytes],
      [LOOP_SET_DIRECT_IO, 1],
    ];
    return this.#onDevice(device, async (fd) => {
      for (const [request, argument] of steps) {
        const result = await this.#calls.ioctl(fd, request, argument);
        if (result >= 0) continue;
        if (request !== LOOP_SET_FD) await this.#calls.ioctl(fd, LOOP_CLR_FD, 0);
        return -result;
      }
      return 0;
    });
  }

  /** Runs `use` with the device open. Its answer, or the negative errno of opening. */
  async #onDevice(device: string, use: (fd: number) => Promise<number>): Promise<number> {
    let file;
    try {
      file = await open(device, 'r+');
    } catch (error) {
      return -errnoOf(error);
    }
    try {
      return await use(file.fd);
    } finally {
      await file.close();
    }
  }
}

/** Path of the file that the device has, as the kernel sees it; undefined if it has none. Asks nobody, so it never waits. */
export function backingOf(device: string): string | undefined {
  return readAttribute(device, 'backing_file');
}

/** Whether the device's I/O bypasses the page cache of the file below it. */
export function isDirect(device: string): boolean {
  return readAttribute(device, 'dio') === '1';
}

function readAttribute(device: string, name: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${basename(device)}/loop/${name}`, 'utf8').trimEnd();
  } catch {
    return undefined;
  }
}

function errnoOf(error: unknown): number {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
    return Math.abs(error.errno);
  }
  throw error;
}
