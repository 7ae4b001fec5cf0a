/** Why a connection between engines ends (docs/peer-protocol.md, "How it ends"). */

/** What the other end did that it must not. */
export type Violation =
  | 'PEER_FRAME'
  | 'PEER_PROOF'
  | 'PEER_KEY'
  | 'PEER_KIND'
  | 'PEER_FIELD'
  | 'PEER_SLOT'
  | 'PEER_HELLO';

/** Beside violations: closed or silent at either end, or the socket broke. */
export type EndCode = Violation | 'PEER_CLOSING' | 'PEER_SILENT' | 'PEER_FULL' | 'PEER_RESET';

const CODES: ReadonlySet<string> = new Set<EndCode>([
  'PEER_FRAME',
  'PEER_PROOF',
  'PEER_KEY',
  'PEER_KIND',
  'PEER_FIELD',
  'PEER_SLOT',
  'PEER_HELLO',
  'PEER_CLOSING',
  'PEER_SILENT',
  'PEER_FULL',
  'PEER_RESET',
]);

/** Whether a text that came from the other end is one of the codes. */
export function isEndCode(text: unknown): text is EndCode {
  return typeof text === 'string' && CODES.has(text);
}
