/** Listening unix sockets as plain descriptors, for the io_uring maker's accept. */

import { Buffer } from 'node:buffer';
import fs from 'node:fs';

import { EADDRINUSE, ECONNREFUSED, ENAMETOOLONG, ErrnoError } from '../../model/errno.ts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './operations.ts';
import { SOCKET_ADDRESS_BYTES, SOCKET_PATH_BYTES_MAX } from './scratch.ts';
import type { Syscalls } from './syscalls.ts';

const BACKLOG = 128;
const MODE = 0o600;

/**
 * Listens on a unix socket at `path`, mode 0600, in place of a socket there that nobody listens on. Throws
 * {@link ErrnoError}: EADDRINUSE if somebody does or something else is there, ENAMETOOLONG above 107 bytes.
 */
export function listenUnix(system: Syscalls, path: string): number {
  const address = unixAddress(path);
  const fd = system.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new ErrnoError({ errno: system.errno(), syscall: 'socket', path });
  try {
    // Linux takes the mode of the new file from the socket: there is no moment in which others could connect.
    fs.fchmodSync(fd, MODE);
    if (system.bind(fd, address, SOCKET_ADDRESS_BYTES) < 0) {
      const errno = system.errno();
      if (errno !== EADDRINUSE || !removeStale(system, path, address)) {
        throw new ErrnoError({ errno, syscall: 'bind', path });
      }
      if (system.bind(fd, address, SOCKET_ADDRESS_BYTES) < 0) {
        throw new ErrnoError({ errno: system.errno(), syscall: 'bind', path });
      }
    }
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
    system.connect(fd, address, SOCKET_ADDRESS_BYTES) < 0 && system.errno() === ECONNREFUSED;
  system.close(fd);
  if (refused) fs.unlinkSync(path);
  return refused;
}

function unixAddress(path: string): Uint8Array {
  const bytes = Buffer.from(path);
  if (bytes.length > SOCKET_PATH_BYTES_MAX) {
    throw new ErrnoError({ errno: ENAMETOOLONG, syscall: 'bind', path });
  }
  const address = new Uint8Array(SOCKET_ADDRESS_BYTES);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  return address;
}
