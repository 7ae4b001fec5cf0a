/** The secrets of one data connection, exported from the TLS session of its control connection (docs/peer-protocol.md, "Keys"). */

import type { Cipher } from '../env/aead.ts';
import { assert } from '../lib/assert.ts';
import type { Arena } from '../lib/arena.ts';
import type { Checksum } from '../lib/checksum.ts';
import { ClearGuard, type Guard, SealedGuard } from './guard.ts';

/** What both ends export, and by what name; the context is the ticket. */
export const EXPORT_BYTES = 96;
export const EXPORT_LABEL = 'EXPORTER-holdfast-peer-1';
export const TICKET_BYTES = 16;
const SECRET_BYTES = 32;
const PROOF_AT = 64;
const SEEDS_AT = 80;

/** Which end of a data connection this is. */
export type Side = 'dialling' | 'accepting';

export type Guards = { readonly send: Guard; readonly receive: Guard };

/** What the dialling end shows of the secrets, 16 bytes of `exported`. */
export function proofOf(exported: Uint8Array): Uint8Array {
  return exported.subarray(PROOF_AT, PROOF_AT + TICKET_BYTES);
}

/** The guards of one end. `cipher` undefined: frames in clear. What was exported is overwritten: it makes guards once. */
export function guardsOf(
  exported: Uint8Array,
  side: Side,
  {
    arena,
    checksum,
    cipher,
  }: {
    readonly arena: Arena;
    readonly checksum: Checksum;
    readonly cipher: Cipher | undefined;
  },
): Guards {
  assert(exported.length === EXPORT_BYTES, 'what is exported has its length');
  const view = new DataView(exported.buffer, exported.byteOffset);
  const [dialling, accepting] = [0, 1].map((half): Guard => {
    if (cipher !== undefined) {
      const secret = exported.slice(half * SECRET_BYTES, (half + 1) * SECRET_BYTES);
      return new SealedGuard(arena, cipher, secret);
    }
    const at = SEEDS_AT + 8 * half;
    const seed = { low: view.getUint32(at, true), high: view.getUint32(at + 4, true) };
    return new ClearGuard(arena, checksum, seed);
  });
  assert(dialling !== undefined && accepting !== undefined, 'there is a guard for each direction');
  exported.fill(0);
  return side === 'dialling'
    ? { send: dialling, receive: accepting }
    : { send: accepting, receive: dialling };
}
