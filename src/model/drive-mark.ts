/** By what a drive's superblock names itself: the magic in bytes 0 to 8, and the drive's uuid in bytes 32 to 48. */

export const MAGIC_LOW = 0x444c4f48; // "HOLD"
export const MAGIC_HIGH = 0x54534146; // "FAST"
const UUID_AT = 32;

/** The uuid of the drive that `block` names as its own, as 32 hex digits; undefined where it is no superblock. */
export function driveUuidIn(block: Uint8Array): string | undefined {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  if (view.byteLength < UUID_AT + 16) return undefined;
  if (view.getUint32(0, true) !== MAGIC_LOW || view.getUint32(4, true) !== MAGIC_HIGH)
    return undefined;
  const words = [0, 4, 8, 12].map((at) => view.getUint32(UUID_AT + at, true));
  return words.map((word) => word.toString(16).padStart(8, '0')).join('');
}
