/** The TCP address of the API, as the installation keeps it in DIR/api.json. */

import fs from 'node:fs';
import { BlockList, isIP } from 'node:net';

import { formatTcpAddress } from '../env/tcp-address.ts';
import { Refusal } from '../model/errors.ts';
import { type Installation, replaceFile } from './installation.ts';

export type ApiAddress = { readonly host: string; readonly port: number };

/** Whether only this machine reaches `address`. */
export function isLoopback(address: string): boolean {
  const version = isIP(address);
  if (version === 0) return false;
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8, 'ipv4');
  loopback.addAddress('::1', 'ipv6');
  return loopback.check(address, version === 6 ? 'ipv6' : 'ipv4');
}

/** Reads `127.0.0.1:7070` or `[::1]:7070`; port 0 is any that is free. Throws ADDRESS_REFUSED. */
export function parseApiAddress(text: string): ApiAddress {
  const [, v6, v4, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? v4 ?? '';
  const port = Number(digits);
  if (digits === undefined || port > 65_535 || isIP(host) === 0) {
    throw refused(text, 'it is no IP address with a port, such as 127.0.0.1:7070');
  }
  if (!isLoopback(host)) {
    throw refused(text, `"${host}" can be reached from elsewhere, and there is no TLS yet`);
  }
  return { host, port };
}

const refused = (address: string, problem: string): Refusal =>
  new Refusal('ADDRESS_REFUSED', { address: address.slice(0, 80), problem });

/** Keeps the address for this start and later ones; undefined: none. */
export function keepApiAddress({ apiFile }: Installation, address: ApiAddress | undefined): void {
  if (address === undefined) fs.rmSync(apiFile, { force: true });
  else
    replaceFile(apiFile, `${JSON.stringify({ version: 1, listen: formatTcpAddress(address) })}\n`);
}

/** The address that is kept. Throws ADDRESS_REFUSED where somebody wrote another one into the file. */
export function readApiAddress({ apiFile }: Installation): ApiAddress | undefined {
  if (!fs.existsSync(apiFile)) return undefined;
  const { listen }: { listen?: unknown } = JSON.parse(fs.readFileSync(apiFile, 'utf8'));
  return parseApiAddress(String(listen));
}
