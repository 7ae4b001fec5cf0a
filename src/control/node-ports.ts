/** Where a node of a cluster is reached: one address, and four ports that follow each other. */

import { type TcpAddress, addressBytesOf } from '../env/tcp-address.ts';
import { Refusal } from '../model/errors.ts';

/** Of engines; 7172, 7173 and 7174 then are the others. */
export const PEER_PORT = 7171;
/** After that of engines: of joins, and of the node's member of etcd, for clients and for other members. */
const AFTER_PEER = { join: 1, etcdClient: 2, etcdPeer: 3 } as const;

/** The address of a node that serves `what`, by the one of its engine. */
export const portAfter = (
  { host, port }: TcpAddress,
  what: keyof typeof AFTER_PEER,
): TcpAddress => ({ host, port: port + AFTER_PEER[what] });

/** Why others cannot be told to connect to a node there; undefined: they can. */
export function nodeAddressProblem({
  host,
  port,
}: Record<keyof TcpAddress, unknown>): string | undefined {
  const bytes = typeof host === 'string' ? addressBytesOf(host) : undefined;
  if (bytes === undefined) return 'it is no IP address';
  if (bytes.every((byte) => byte === 0)) return 'others reach a node by one of its addresses';
  const last = Number(port) + AFTER_PEER.etcdPeer;
  const isPort = Number.isInteger(port) && Number(port) > 0 && last <= 65_535;
  return isPort ? undefined : 'its port and the three after it are from 1 to 65535';
}

/** Reads `10.0.0.1`, `10.0.0.1:7171`, `fd00::1` or `[fd00::1]:7171`. Throws ADDRESS_REFUSED. */
export function parseNodeAddress(text: string): TcpAddress {
  const [, v6, v4, digits] = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text) ?? [];
  const address = {
    host: v6 ?? v4 ?? text,
    port: digits === undefined ? PEER_PORT : Number(digits),
  };
  const problem = nodeAddressProblem(address);
  if (problem === undefined) return address;
  throw new Refusal('ADDRESS_REFUSED', { address: text.slice(0, 80), problem });
}
