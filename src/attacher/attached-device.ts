/** What the attacher has of an attached volume, whichever way the kernel reaches it. */

import type { ClientState } from './client-state.ts';

export type DeviceKind = 'kernel-nbd' | 'fuse-loop';

export type AttachSpec = {
  /** 32 hexadecimal digits; also the NBD export's name. */
  readonly attachId: string;
  readonly uuid: string;
  readonly socketPath: string;
  readonly sizeBytes: number;
};

export type AttachedDevice = {
  readonly kind: DeviceKind;
  readonly spec: AttachSpec;
  /** Path of the block device. */
  readonly device: string;
  readonly state: ClientState;
  /** Connections to engines so far: one more than there were restarts. */
  readonly connectCount: number;
  resize(sizeBytes: number): Promise<void>;
  /**
   * Takes the device away, after everything written to it went to the engine. With `force` what is unanswered fails instead.
   * Throws, and leaves the device, while somebody has it open.
   */
  detach(options: { readonly force: boolean }): Promise<void>;
};

/** Bytes of a logical sector: a block of Holdfast. File systems then never ask for less than the store writes at once. */
export const SECTOR_BYTES = 4096;
