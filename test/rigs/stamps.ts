/**
 * What the rigs write: each 512-byte sector says which sector of which run it is and which version, 32 times over, so
 * that every wrong byte, every mixed sector and every sector in the wrong place shows.
 *
 *     stamp, 16 bytes: run u32 | sector u32 | version u32 | run xor sector xor version xor MARK
 *
 * Version 0 stands for zeros: never written, trimmed or zeroed.
 */

export const SECTOR_BYTES = 512;
/** The answer of {@link versionOf} for bytes that no version of this sector ever had. */
export const FOREIGN = -1;

const STAMP_BYTES = 16;
const MARK = 0x484f4c44;

export type SectorRange = { readonly firstSector: number; readonly sectorCount: number };

/** A fresh buffer with `version` in every sector of the range. */
export function stampedBytes(run: number, range: SectorRange, version: number): Buffer {
  const buffer = Buffer.alloc(range.sectorCount * SECTOR_BYTES);
  if (version === 0) return buffer;
  for (let index = 0; index < range.sectorCount; index++) {
    stampSector(buffer, index * SECTOR_BYTES, [run, range.firstSector + index, version]);
  }
  return buffer;
}

/** The version that the sector at `offsetBytes` of `buffer` holds, if it is `sector` of `run`; else {@link FOREIGN}. */
export function versionOf(
  buffer: Buffer,
  offsetBytes: number,
  of: { readonly run: number; readonly sector: number },
): number {
  const bytes = buffer.subarray(offsetBytes, offsetBytes + SECTOR_BYTES);
  const version = bytes.readUInt32LE(8);
  const expected = Buffer.alloc(SECTOR_BYTES);
  // A real version is never 0: a sector with a 0 there is all zeros or foreign.
  if (version !== 0) stampSector(expected, 0, [of.run, of.sector, version]);
  return bytes.equals(expected) ? version : FOREIGN;
}

function stampSector(
  buffer: Buffer,
  offsetBytes: number,
  [run, sector, version]: readonly [number, number, number],
): void {
  const check = (run ^ sector ^ version ^ MARK) >>> 0;
  buffer.writeUInt32LE(run, offsetBytes);
  buffer.writeUInt32LE(sector, offsetBytes + 4);
  buffer.writeUInt32LE(version, offsetBytes + 8);
  buffer.writeUInt32LE(check, offsetBytes + 12);
  for (let filled = STAMP_BYTES; filled < SECTOR_BYTES; filled *= 2) {
    buffer.copyWithin(offsetBytes + filled, offsetBytes, offsetBytes + filled);
  }
}
