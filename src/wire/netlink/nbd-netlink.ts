/** Commands of the kernel's nbd driver over generic netlink (include/uapi/linux/nbd-netlink.h). */

import { type Attribute, formatMessage } from './generic-netlink.ts';

export const NBD_FAMILY = 'nbd';
const VERSION = 1;

const COMMAND_CONNECT = 1;
const COMMAND_DISCONNECT = 2;
const COMMAND_RECONFIGURE = 3;

const INDEX = 1;
const SIZE_BYTES = 2;
const BLOCK_SIZE_BYTES = 3;
const SERVER_FLAGS = 5;
const SOCKETS = 7;
const DEAD_CONNECTION_TIMEOUT = 8;
const BACKEND_IDENTIFIER = 10;
const SOCKET_ITEM = 1;
const SOCKET_FD = 1;

export type NbdTarget = {
  /** Number that the kernel gave the family. */
  readonly family: number;
  /** N of /dev/nbdN. */
  readonly index: number;
  /** The device remembers it, refuses commands that name another, and shows it in sysfs. */
  readonly backend: string;
};

/**
 * Makes a device of `socket`, which is in the transmission phase. No timeout of requests is set: a slow answer is no
 * reason to give a socket up.
 */
export function formatConnect(
  target: NbdTarget,
  options: {
    readonly socket: number;
    readonly sizeBytes: number;
    readonly sectorBytes: number;
    /** The export's transmission flags. */
    readonly flags: number;
    /** How long requests wait for a new socket. */
    readonly deadSeconds: number;
  },
): Uint8Array {
  return format(COMMAND_CONNECT, target, [
    { type: SIZE_BYTES, u64: BigInt(options.sizeBytes) },
    { type: BLOCK_SIZE_BYTES, u64: BigInt(options.sectorBytes) },
    { type: SERVER_FLAGS, u64: BigInt(options.flags) },
    { type: DEAD_CONNECTION_TIMEOUT, u64: BigInt(options.deadSeconds) },
    socketsOf(options.socket),
  ]);
}

/** Puts `socket` in a dead one's place. Without a dead one it does nothing, and says no error. */
export function formatReconnect(target: NbdTarget, socket: number): Uint8Array {
  return format(COMMAND_RECONFIGURE, target, [socketsOf(socket)]);
}

/** Changes the size of a device that is connected. */
export function formatResize(target: NbdTarget, sizeBytes: number): Uint8Array {
  return format(COMMAND_RECONFIGURE, target, [{ type: SIZE_BYTES, u64: BigInt(sizeBytes) }]);
}

/** Takes the device away. What is unanswered fails. */
export function formatDisconnect(target: NbdTarget): Uint8Array {
  return formatMessage({
    family: target.family,
    command: COMMAND_DISCONNECT,
    version: VERSION,
    attributes: [{ type: INDEX, u32: target.index }],
  });
}

function socketsOf(socket: number): Attribute {
  const item = { type: SOCKET_ITEM, nested: [{ type: SOCKET_FD, u32: socket }] };
  return { type: SOCKETS, nested: [item] };
}

function format(command: number, target: NbdTarget, attributes: readonly Attribute[]): Uint8Array {
  return formatMessage({
    family: target.family,
    command,
    version: VERSION,
    attributes: [
      { type: INDEX, u32: target.index },
      { type: BACKEND_IDENTIFIER, text: target.backend },
      ...attributes,
    ],
  });
}
