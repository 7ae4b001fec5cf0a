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
  /** Fails what is unanswered and all to come. */
  giveUp(): Promise<void>;
  /**
   * Takes the device away, after everything written to it went to the engine, or after {@link giveUp} with `force`. Throws, and leaves the
   * device, while somebody has it open.
   */
  detach(options: { readonly force: boolean }): Promise<void>;
  readonly handover: DeviceHandover;
};

/** A device of another process that this one is to go on with. */
export type InheritedDevice = {
  readonly kind: DeviceKind;
  readonly spec: AttachSpec;
  readonly device: string;
  readonly fd: number;
};

/** The handing over of a device to another process. */
export type DeviceHandover = {
  /** What the other process inherits: the descriptor of /dev/fuse, or the kernel's nbd socket. */
  readonly fd: number;
  /** Takes no more requests of the kernel, which keeps them. Resolves when those that were taken are answered. */
  pause(): Promise<void>;
  /** Puts this process on record as the one that serves. */
  record(): void;
  /** Takes requests, again or for the first time. */
  serve(): void;
};

/** Bytes of a logical sector: a block of Holdfast. File systems then never ask for less than the store writes at once. */
export const SECTOR_BYTES = 4096;
