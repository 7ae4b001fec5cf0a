/** What both ends of a control connection between engines say (docs/peer-protocol.md, "Control connection"). */

import type { JsonObject, LineError } from '../../wire/line-protocol.ts';

/** The versions of the protocol that this engine speaks. */
export const PEER_VERSIONS: readonly number[] = [1];
/** Calls without an answer, of one connection. */
export const CALLS_MAX = 16;

const REFUSALS = {
  PEER_VERSION: 'There is no version of the peer protocol that both engines speak',
  PEER_IDENTITY: 'The certificate is of another node, or of one that the cluster does not list',
  PEER_NO_REPLICA: 'The replica is not on a drive of this engine',
  PEER_MUST_SEAL: 'This engine takes sealed frames alone',
  PEER_FULL: 'This engine has given as many tickets as it can',
} as const;

/** Why a call is refused. */
export type PeerRefusal = keyof typeof REFUSALS;

/** The error of an answer. `details`: what was wrong with the call. */
export function peerRefusal(code: PeerRefusal, details: JsonObject = {}): LineError {
  return { code, message: REFUSALS[code], details };
}
