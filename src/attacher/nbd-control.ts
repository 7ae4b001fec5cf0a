/** Commands to the kernel's nbd driver, and what sysfs says of its devices. */

import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';

import type { RawSockets } from '../env/linux/raw-sockets.ts';
import { EOPNOTSUPP, ErrnoError } from '../model/errno.ts';
import { familyOf, formatGetFamily, parseMessages } from '../wire/netlink/generic-netlink.ts';
import { NBD_FAMILY } from '../wire/netlink/nbd-netlink.ts';

const SYS_BLOCK = '/sys/block';

/** Number of the nbd family, or undefined where the kernel has none (the module is not loaded). */
export function findNbdFamily(sockets: RawSockets): number | undefined {
  const answer = sockets.netlink(formatGetFamily(NBD_FAMILY), isEnd);
  if (typeof answer === 'number') return undefined;
  for (const message of answer.flatMap((datagram) => parseMessages(datagram))) {
    const family = message.kind === 'data' ? familyOf(message.attributes) : undefined;
    if (family !== undefined) return family;
  }
  return undefined;
}

/** Sends one command and returns 0 or the errno. */
export function command(sockets: RawSockets, request: Uint8Array): number {
  const answer = sockets.netlink(request, isEnd);
  if (typeof answer === 'number') return answer;
  for (const message of answer.flatMap((datagram) => parseMessages(datagram))) {
    if (message.kind === 'end') return message.errno;
  }
  return EOPNOTSUPP;
}

/** Throws the errno of a command that failed. */
export function check(errno: number, syscall: string, device: string): void {
  if (errno !== 0) throw new ErrnoError({ errno, syscall, path: device });
}

export type NbdDevice = {
  readonly index: number;
  /** In use by anybody. */
  readonly connected: boolean;
  /** The backend identifier, where it was given one. */
  readonly backend: string | undefined;
};

/** The driver's devices, by number. */
export function listNbdDevices(): NbdDevice[] {
  const devices: NbdDevice[] = [];
  for (const name of readdirSync(SYS_BLOCK)) {
    const index = /^nbd(\d+)$/.exec(name)?.[1];
    if (index === undefined) continue;
    const backend = readText(`${SYS_BLOCK}/${name}/backend`);
    devices.push({
      index: Number(index),
      connected: existsSync(`${SYS_BLOCK}/${name}/pid`),
      backend,
    });
  }
  return devices.toSorted((a, b) => a.index - b.index);
}

/** The device that serves `backend`, whoever made it. */
export function findByBackend(backend: string): NbdDevice | undefined {
  return listNbdDevices().find((device) => device.connected && device.backend === backend);
}

/**
 * How often the driver looks whether a waiting request's socket was replaced, and sends it again if so. It is the only
 * occasion on which it does; its default is 30 s. Since no timeout is set for the driver itself, this ends no request.
 */
export function setRetryMs(index: number, retryMs: number): void {
  writeFileSync(`${SYS_BLOCK}/nbd${index}/queue/io_timeout`, String(retryMs));
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function isEnd(datagram: Uint8Array): boolean {
  return parseMessages(datagram).some((message) => message.kind === 'end');
}
