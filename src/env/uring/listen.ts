/** Sockets as plain descriptors, for the io_uring maker: how they are made, bound and listened on. */

import { Buffer } from 'node:buffer';
import fs from 'node:fs';

import { EADDRINUSE, ECONNREFUSED, EINVAL, ENAMETOOLONG, ErrnoError } from '../../model/errno.ts';
import type { TcpListener } from '../env.ts';
import { type TcpAddress, portOf, socketAddressOf } from '../tcp-address.ts';
import {
  AF_UNIX,
  IPPROTO_TCP,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_SOCKET,
  SO_REUSEADDR,
  TCP_NODELAY,
} from './operations.ts';
import { SOCKET_ADDRESS_BYTES } from './scratch.ts';
import type { Syscalls } from './syscalls.ts';

const BACKLOG = 128;
const MODE = 0o600;
/** sun_path holds 108 bytes with its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;
const ON: Uint8Array = Uint8Array.of(1, 0, 0, 0);

/**
 * Makes a stream socket of the family of `address` and returns its descriptor, or a negative errno. Over TCP nothing waits for more
 * to send, nor do the connections that it accepts: they inherit TCP_NODELAY (tcp(7)).
 */
export function openSocket(system: Syscalls, address: Uint8Array): number {
  const [family = 0] = address;
  const fd = system.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -system.errno();
  if (family === AF_UNIX) return fd;
  if (system.setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, ON, ON.length) === 0) return fd;
  const errno = system.errno();
  system.close(fd);
  return -errno;
}

/**
 * Listens on a unix socket at `path`, mode 0600, in place of a socket there that nobody listens on. Throws
 * {@link ErrnoError}: EADDRINUSE if somebody does or something else is there, ENAMETOOLONG above 107 bytes.
 */
export function listenUnix(system: Syscalls, path: string): number {
  const address = unixAddress(path);
  if (address === undefined) throw new ErrnoError({ errno: ENAMETOOLONG, syscall: 'bind', path });
  return listening(system, { address, path }, (fd) => {
    // Linux takes the mode of the new file from the socket: there is no moment in which others could connect.
    fs.fchmodSync(fd, MODE);
    if (system.bind(fd, address, address.length) === 0) return 0;
    const errno = system.errno();
    if (errno !== EADDRINUSE || !removeStale(system, path, address)) return errno;
    return system.bind(fd, address, address.length) < 0 ? system.errno() : 0;
  });
}

/** Listens over TCP. Throws {@link ErrnoError}: EINVAL if `to` is no address, EADDRINUSE, EADDRNOTAVAIL. */
export function listenTcp(system: Syscalls, to: TcpAddress): TcpListener {
  const address = socketAddressOf(to);
  const path = to.host;
  if (address === undefined) throw new ErrnoError({ errno: EINVAL, syscall: 'bind', path });
  const fd = listening(system, { address, path }, (socket) => {
    // Connections of an earlier process that are still ending do not keep the port from its successor.
    system.setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, ON, ON.length);
    return system.bind(socket, address, address.length) < 0 ? system.errno() : 0;
  });
  const bound = new Uint8Array(SOCKET_ADDRESS_BYTES);
  system.getsockname(fd, bound, Uint32Array.of(bound.length));
  return { fd, port: portOf(bound) };
}

/** A socket that `bind` binds, returning 0 or an errno, and that listens. */
function listening(
  system: Syscalls,
  { address, path }: { readonly address: Uint8Array; readonly path: string },
  bind: (fd: number) => number,
): number {
  const fd = openSocket(system, address);
  if (fd < 0) throw new ErrnoError({ errno: -fd, syscall: 'socket', path });
  try {
    const errno = bind(fd);
    if (errno !== 0) throw new ErrnoError({ errno, syscall: 'bind', path });
    if (system.listen(fd, BACKLOG) < 0) {
      throw new ErrnoError({ errno: system.errno(), syscall: 'listen', path });
    }
    return fd;
  } catch (error) {
    system.close(fd);
    throw error;
  }
}

/** Removes the socket at `path` if a connection to it is refused. */
function removeStale(system: Syscalls, path: string, address: Uint8Array): boolean {
  if (!fs.lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return false;
  const fd = system.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const refused =
    system.connect(fd, address, address.length) < 0 && system.errno() === ECONNREFUSED;
  system.close(fd);
  if (refused) fs.unlinkSync(path);
  return refused;
}

/** A sockaddr_un, which the caller owns: family u16, path, NUL. Undefined where the path is too long for it. */
export function unixAddress(path: string): Uint8Array | undefined {
  const bytes = Buffer.from(path);
  if (bytes.length > SOCKET_PATH_BYTES_MAX) return undefined;
  const address = new Uint8Array(SOCKET_ADDRESS_BYTES);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}
