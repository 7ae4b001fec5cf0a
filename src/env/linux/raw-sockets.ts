/**
 * Sockets as plain descriptors, to be given to the kernel: Node's own belong to its event loop, and those of the Node maker
 * of env.io are no descriptors at all. Calls that wait do so on a thread of Node's pool, with a limit. All are cold.
 */

import { closeSync } from 'node:fs';

import { openFfi } from '../ffi.ts';

const AF_UNIX = 1;
const AF_NETLINK = 16;
const SOCK_STREAM = 1;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2_000_000;
const NETLINK_GENERIC = 16;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const MSG_NOSIGNAL = 0x4000;
const SHUT_RDWR = 2;
const POLLRDHUP = 0x2000;
const POLL_ENTRY_BYTES = 8;

/** An engine that accepts answers within this, or it is asked again. */
const TRANSFER_SECONDS = 5;
const ADDRESS_BYTES = 110;
export const UNIX_PATH_BYTES_MAX = 107;
/** The kernel's own buffer for one netlink answer is a page or two. */
const NETLINK_BYTES_MAX = 32_768;

export type RawSockets = {
  /** Connects to a unix socket. Resolves with the descriptor, whose transfers have a limit of 5 s, or the negative errno. */
  connectUnix(path: string): Promise<number>;
  /** Resolves with the bytes sent or the negative errno. */
  send(fd: number, bytes: Uint8Array): Promise<number>;
  /** Resolves with what came, 1 to `lengthBytes` bytes, 0 at the end; or the negative errno. */
  receive(fd: number, lengthBytes: number): Promise<Uint8Array | number>;
  /** Lets transfers on `fd` wait for ever, as the kernel wants them. */
  clearLimits(fd: number): void;
  shutdown(fd: number): void;
  /** Resolves after `timeoutMs` or earlier, with those of `fds` whose peer has gone. */
  pollEnded(fds: readonly number[], timeoutMs: number): Promise<number[]>;
  /** Sends one generic netlink request and returns the datagrams up to the one that `isLast` accepts; or the errno. */
  netlink(request: Uint8Array, isLast: (datagram: Uint8Array) => boolean): Uint8Array[] | number;
};

type Async<Values extends unknown[]> = {
  async(...values: [...Values, (error: Error | null, result: number) => void]): void;
};

/** Looks the functions up. Throws where koffi or one of them is missing. */
export function openRawSockets(): RawSockets {
  const ffi = openFfi();
  const socket = ffi.func<(domain: number, type: number, protocol: number) => number>(
    'int socket(int domain, int type, int protocol)',
  );
  const setsockopt = ffi.func<
    (fd: number, level: number, name: number, value: number, length: number) => number
  >('int setsockopt(int fd, int level, int name, uintptr_t value, uint32_t length)');
  const shutdown = ffi.func<(fd: number, how: number) => number>('int shutdown(int fd, int how)');
  type Transfer = (fd: number, address: number, length: number, flags: number) => number;
  type Values = [number, number, number, number];
  const send = ffi.func<Transfer & Async<Values>>(
    'long send(int fd, uintptr_t bytes, size_t length, int flags)',
  );
  const receive = ffi.func<Transfer & Async<Values>>(
    'long recv(int fd, uintptr_t bytes, size_t length, int flags)',
  );
  const connect = ffi.func<Async<[number, number, number]>>(
    'int connect(int fd, uintptr_t address, uint32_t length)',
  );
  const poll = ffi.func<Async<[number, number, number]>>(
    'int poll(uintptr_t entries, unsigned long count, int timeout)',
  );

  /** Runs a call on a thread; `buffer` lives until it has ended. */
  const start = <V extends unknown[]>(call: Async<V>, buffer: ArrayBuffer, ...values: V) =>
    new Promise<number>((resolve, reject) => {
      call.async(...values, (error, result) => {
        const errno = ffi.errno();
        if (error) reject(error);
        else resolve(result < 0 && buffer.byteLength > 0 ? -errno : result);
      });
    });
  const setLimits = (fd: number, seconds: number): void => {
    const time = new ArrayBuffer(128);
    new DataView(time).setBigInt64(0, BigInt(seconds), true);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, ffi.address(time), 16);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, ffi.address(time), 16);
  };

  return {
    connectUnix: async (path) => {
      const address = new ArrayBuffer(ADDRESS_BYTES);
      const bytes = new TextEncoder().encode(path);
      new DataView(address).setUint16(0, AF_UNIX, true);
      new Uint8Array(address, 2, UNIX_PATH_BYTES_MAX).set(bytes.subarray(0, UNIX_PATH_BYTES_MAX));
      const fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (fd < 0) return -ffi.errno();
      setLimits(fd, TRANSFER_SECONDS);
      const result = await start(connect, address, fd, ffi.address(address), ADDRESS_BYTES);
      if (result === 0) return fd;
      closeSync(fd);
      return result;
    },
    send: (fd, bytes) => {
      const copy = new Uint8Array(Math.max(bytes.length, 128));
      copy.set(bytes);
      return start(send, copy.buffer, fd, ffi.address(copy.buffer), bytes.length, MSG_NOSIGNAL);
    },
    receive: async (fd, lengthBytes) => {
      const buffer = new ArrayBuffer(lengthBytes);
      const result = await start(receive, buffer, fd, ffi.address(buffer), lengthBytes, 0);
      return result < 0 ? result : new Uint8Array(buffer, 0, result);
    },
    clearLimits: (fd) => setLimits(fd, 0),
    shutdown: (fd) => void shutdown(fd, SHUT_RDWR),
    pollEnded: async (fds, timeoutMs) => {
      const entries = new ArrayBuffer(Math.max(POLL_ENTRY_BYTES * fds.length, 128));
      const view = new DataView(entries);
      for (const [i, fd] of fds.entries()) {
        view.setInt32(POLL_ENTRY_BYTES * i, fd, true);
        view.setInt16(POLL_ENTRY_BYTES * i + 4, POLLRDHUP, true);
      }
      await start(poll, entries, ffi.address(entries), fds.length, timeoutMs);
      return fds.filter((_, i) => view.getInt16(POLL_ENTRY_BYTES * i + 6, true) !== 0);
    },
    netlink: (request, isLast) => {
      const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
      if (fd < 0) return ffi.errno();
      try {
        setLimits(fd, TRANSFER_SECONDS);
        const copy = new Uint8Array(Math.max(request.length, 128));
        copy.set(request);
        const sent = send(fd, ffi.address(copy.buffer), request.length, MSG_NOSIGNAL);
        if (sent < 0) return ffi.errno();
        const datagrams: Uint8Array[] = [];
        for (;;) {
          const buffer = new ArrayBuffer(NETLINK_BYTES_MAX);
          const count = receive(fd, ffi.address(buffer), NETLINK_BYTES_MAX, 0);
          if (count < 0) return ffi.errno();
          const datagram = new Uint8Array(buffer, 0, count);
          datagrams.push(datagram);
          if (isLast(datagram)) return datagrams;
        }
      } finally {
        closeSync(fd);
      }
    },
  };
}
