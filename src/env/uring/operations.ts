/** Numbers of <linux/io_uring.h> that the maker uses, and how an operation is named in its user data. */

import { type Port, INDEX_LIMIT } from '../io.ts';

export const OP_WRITEV = 2;
export const OP_FSYNC = 3;
export const OP_POLL_ADD = 6;
export const OP_SENDMSG = 9;
export const OP_TIMEOUT = 11;
export const OP_TIMEOUT_REMOVE = 12;
export const OP_ACCEPT = 13;
export const OP_CONNECT = 16;
export const OP_CLOSE = 19;
export const OP_READ = 22;
export const OP_WRITE = 23;
export const OP_RECV = 27;
export const OPCODES_USED: readonly number[] = [
  OP_WRITEV,
  OP_FSYNC,
  OP_POLL_ADD,
  OP_SENDMSG,
  OP_TIMEOUT,
  OP_TIMEOUT_REMOVE,
  OP_ACCEPT,
  OP_CONNECT,
  OP_CLOSE,
  OP_READ,
  OP_WRITE,
  OP_RECV,
];

/** IOSQE_ASYNC, beside the operation: it is begun by a thread of the kernel's, never by ours. */
export const BY_KERNEL_THREAD: number = 1 << 12;

/** The high word of the user data: what ended, and on which descriptor. */
export const KIND_SHIFT = 28;
export const FD_MASK: number = (1 << KIND_SHIFT) - 1;
export const KIND_FILE = 0;
export const KIND_SOCKET = 1;
export const KIND_CONNECT = 2;
export const KIND_TIMER = 3;
export const KIND_CLOSE = 4;
/** Entries of our own: the low word is one of the three below. */
export const KIND_INTERNAL = 5;
/** Several transfers in one entry: the low word is the number of the first one in {@link Merges}. */
export const KIND_MERGED = 6;
export const NOBODY_WAITS = 0;
export const RUNTIME_READY = 1;
export const IDLE_TICK = 2;

export const FSYNC_DATASYNC = 1;
export const POLLIN = 1;
export const AF_UNIX = 1;
export const SOL_SOCKET = 1;
export const SO_REUSEADDR = 2;
export const SO_SNDBUF = 7;
export const IPPROTO_TCP = 6;
export const TCP_NODELAY = 1;
export const SOCK_STREAM = 1;
export const SOCK_CLOEXEC = 0o2_000_000;
export const SOCK_NONBLOCK = 0o4000;
export const MSG_NOSIGNAL = 0x4000;
export const MSG_DONTWAIT = 0x40;
export const SHUT_RDWR = 2;

const INDEX_BITS = 24;

/** The low word of the user data: whom to tell. */
export function tagOf(port: Port, index: number): number {
  return (port << INDEX_BITS) | index;
}

/** The port in a tag. */
export function portOf(tag: number): number {
  return tag >>> INDEX_BITS;
}

/** The index within its port in a tag. */
export function indexOf(tag: number): number {
  return tag & (INDEX_LIMIT - 1);
}
