/** The first bytes of a data connection, and its `hello` (docs/peer-protocol.md, "Data connection"). */

import type { ReplicaId } from '../replication/record.ts';
import { TICKET_BYTES } from './keys.ts';

/** With the protocol's version in digits. */
const GREETING = 'HFPEER01';

/** What a dialling end shows first. */
export type Prelude = { readonly ticket: Uint8Array; readonly proof: Uint8Array };

/** The bytes of a prelude: greeting, ticket and proof. */
export function formatPrelude({ ticket, proof }: Prelude): Uint8Array {
  const bytes = new Uint8Array(GREETING.length + 2 * TICKET_BYTES);
  new TextEncoder().encodeInto(GREETING, bytes);
  bytes.set(ticket, GREETING.length);
  bytes.set(proof, GREETING.length + TICKET_BYTES);
  return bytes;
}

/** Undefined: not this protocol, or another version of it. */
export function parsePrelude(bytes: Uint8Array): Prelude | undefined {
  const greeting = new TextDecoder().decode(bytes.subarray(0, GREETING.length));
  if (greeting !== GREETING) return undefined;
  const at = GREETING.length;
  return { ticket: bytes.slice(at, at + TICKET_BYTES), proof: bytes.slice(at + TICKET_BYTES) };
}

/** The body of `hello`. */
export function formatHello(replica: ReplicaId, ticket: Uint8Array): string {
  return JSON.stringify({ replica, ticket: hexOf(ticket) });
}

/** A ticket as text. */
export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
