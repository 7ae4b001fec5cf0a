/** Why a connection between engines ends (docs/peer-protocol.md, "How it ends"). */

const VIOLATIONS = [
  'PEER_FRAME',
  'PEER_PROOF',
  'PEER_KEY',
  'PEER_KIND',
  'PEER_FIELD',
  'PEER_SLOT',
  'PEER_HELLO',
] as const;
const END_CODES = [
  ...VIOLATIONS,
  'PEER_CLOSING',
  'PEER_SILENT',
  'PEER_FULL',
  'PEER_RESET',
] as const;

/** What the other end did that it must not. */
export type Violation = (typeof VIOLATIONS)[number];

/** Beside violations: closed or silent at either end, too much, or the socket broke. */
export type EndCode = (typeof END_CODES)[number];

const CODES: ReadonlySet<unknown> = new Set(END_CODES);

/** Whether what came from the other end is one of the codes. */
export function isEndCode(value: unknown): value is EndCode {
  return CODES.has(value);
}
