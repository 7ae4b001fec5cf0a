/** Addresses of TCP, as text and as the kernel takes them. */

import net from 'node:net';

/** Where a TCP socket listens: an address of IPv4 or IPv6 in digits (no name, no zone), and a port. */
export type TcpAddress = { readonly host: string; readonly port: number };

/** Where a socket is reached: the path of a unix socket, or an address of TCP. */
export type SocketAddress = string | TcpAddress;

/** Families, as Linux numbers them. */
export const AF_INET = 2;
export const AF_INET6 = 10;

const PORT_MAX = 65_535;

/**
 * The address as the kernel's sockaddr_in or sockaddr_in6, which the caller owns; undefined where the text is none.
 *
 *     IPv4   family u16, port u16 (big-endian), address 4, zeros 8                           16 bytes
 *     IPv6   family u16, port u16 (big-endian), flow u32, address 16, scope u32              28 bytes
 */
export function socketAddressOf({ host, port }: TcpAddress): Uint8Array | undefined {
  const family = familyOf(host);
  if (family === undefined || !Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    return undefined;
  }
  const bytes = new Uint8Array(family === AF_INET ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port);
  if (family === AF_INET) bytes.set(host.split('.').map(Number), 4);
  else bytes.set(bytesOfIPv6(host), 8);
  return bytes;
}

/** The port in a sockaddr_in or sockaddr_in6. */
export function portOf(address: Uint8Array): number {
  return new DataView(address.buffer, address.byteOffset).getUint16(2);
}

function familyOf(host: string): number | undefined {
  if (net.isIPv4(host)) return AF_INET;
  // A zone names an interface of one machine.
  return net.isIPv6(host) && !host.includes('%') ? AF_INET6 : undefined;
}

/** `host` is known to be well formed: :: stands at most once, for the groups that are missing. */
function bytesOfIPv6(host: string): Uint8Array {
  const dotted = /\d+\.\d+\.\d+\.\d+$/.exec(host)?.[0];
  const text = dotted === undefined ? host : host.replace(dotted, hexOfIPv4(dotted));
  const [before = '', after = ''] = text.split('::');
  const first = before === '' ? [] : before.split(':');
  const last = after === '' ? [] : after.split(':');
  const gap = Array.from({ length: 8 - first.length - last.length }, () => '0');
  const view = new DataView(new ArrayBuffer(16));
  for (const [index, group] of [...first, ...gap, ...last].entries()) {
    view.setUint16(2 * index, Number.parseInt(group, 16));
  }
  return new Uint8Array(view.buffer);
}

function hexOfIPv4(dotted: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split('.').map(Number);
  return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}
