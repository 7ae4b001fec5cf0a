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

/** As it is written, and in URLs: `10.0.0.1:7171`, `[fd00::1]:7171`. */
export const formatTcpAddress = ({ host, port }: TcpAddress): string =>
  net.isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;

/**
 * The address as the kernel's sockaddr_in or sockaddr_in6, which the caller owns; undefined where the text is none.
 *
 *     IPv4   family u16, port u16 (big-endian), address 4, zeros 8                           16 bytes
 *     IPv6   family u16, port u16 (big-endian), flow u32, address 16, scope u32              28 bytes
 */
export function socketAddressOf({ host, port }: TcpAddress): Uint8Array | undefined {
  const address = addressBytesOf(host);
  if (address === undefined || !Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    return undefined;
  }
  const isIPv4 = address.length === 4;
  const bytes = new Uint8Array(isIPv4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, isIPv4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(address, isIPv4 ? 4 : 8);
  return bytes;
}

/** The 4 bytes of an address of IPv4, the 16 of one of IPv6, which the caller owns; undefined where the text is none. */
export function addressBytesOf(host: string): Uint8Array | undefined {
  if (net.isIPv4(host)) return Uint8Array.from(host.split('.'), Number);
  // A zone names an interface of one machine.
  return net.isIPv6(host) && !host.includes('%') ? bytesOfIPv6(host) : undefined;
}

/** The port in a sockaddr_in or sockaddr_in6. */
export function portOf(address: Uint8Array): number {
  return new DataView(address.buffer, address.byteOffset).getUint16(2);
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
