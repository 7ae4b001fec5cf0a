/** What a service tells systemd: sd_notify(3), one datagram to the socket that NOTIFY_SOCKET names. */

import { closeSync } from 'node:fs';
import process from 'node:process';

import { ENAMETOOLONG } from '../../model/errno.ts';
import { openFfi } from '../ffi.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2_000_000;
const MSG_NOSIGNAL = 0x4000;
const ADDRESS_BYTES = 110;
const FAMILY_BYTES = 2;
/** Buffers of 64 bytes and less may be moved by the engine of the language. */
const MESSAGE_BYTES_MIN = 128;

/**
 * Tells systemd `assignments`, such as READY=1. Returns 0, also where no manager asked for it, or the errno. A manager that hears
 * nothing says so by itself.
 */
export function tellServiceManager(...assignments: readonly string[]): number {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return 0;
  // A name that begins with @ is of the abstract namespace, where that byte is 0.
  const name = new TextEncoder().encode(path.replace(/^@/, '\0'));
  if (name.length > ADDRESS_BYTES - FAMILY_BYTES) return ENAMETOOLONG;
  const address = new ArrayBuffer(ADDRESS_BYTES);
  new DataView(address).setUint16(0, AF_UNIX, true);
  new Uint8Array(address).set(name, FAMILY_BYTES);
  const text = new TextEncoder().encode(assignments.join('\n'));
  const message = new ArrayBuffer(Math.max(text.length, MESSAGE_BYTES_MIN));
  new Uint8Array(message).set(text);

  const ffi = openFfi();
  const socket = ffi.func<(domain: number, type: number, protocol: number) => number>(
    'int socket(int domain, int type, int protocol)',
  );
  const sendto = ffi.func<
    (
      fd: number,
      bytes: number,
      length: number,
      flags: number,
      to: number,
      toBytes: number,
    ) => number
  >(
    'long sendto(int fd, uintptr_t bytes, size_t length, int flags, uintptr_t to, uint32_t toBytes)',
  );
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ffi.errno();
  const toBytes = FAMILY_BYTES + name.length;
  const sent = sendto(
    fd,
    ffi.address(message),
    text.length,
    MSG_NOSIGNAL,
    ffi.address(address),
    toBytes,
  );
  const errno = sent < 0 ? ffi.errno() : 0;
  closeSync(fd);
  return errno;
}
