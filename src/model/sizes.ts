/**
 * Sizes as people write them. `KiB MiB GiB TiB PiB` are powers of 1024, `KB MB GB TB PB` powers of 1000, and a bare
 * letter `K M G T P` means the power of 1024, as in coreutils and qemu. Case does not matter.
 */

import { BLOCK_BYTES } from './block-target.ts';
import { Refusal } from './errors.ts';

/** 8 EiB would not fit exact integers; 4 PiB does, and no drive is larger. */
export const SIZE_BYTES_MAX: number = 4 * 1024 ** 5;

const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5 };
const SHAPE = /^(\d{1,16})(?:\.(\d{1,12}))?\s*([kmgtp]?)(i?b)?$/i;

/**
 * Parses a size and returns its bytes: a whole number of blocks, above zero. What is none (10GB is 2441406.25) is rounded up to the
 * next block, whatever its unit; {@link describeRounding} has the words for it. Throws SIZE_INVALID.
 */
export function parseSize(text: string): number {
  const bytes = parseBytes(text);
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** What {@link parseSize} did to a size that is no multiple of a block; undefined for one that is. */
export function describeRounding(text: string): string | undefined {
  const bytes = parseBytes(text);
  const sizeBytes = parseSize(text);
  if (bytes === sizeBytes) return undefined;
  return `${text.trim()} is ${formatSizeExact(bytes)}, no whole number of ${formatSize(BLOCK_BYTES)} blocks: rounded up to ${formatSizeExact(sizeBytes)}`;
}

function parseBytes(text: string): number {
  const refuse = (problem: string): Refusal =>
    new Refusal('SIZE_INVALID', {
      size: text.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, '?'),
      problem,
    });
  const match = SHAPE.exec(text.trim());
  if (match === null) throw refuse('it is not a number with a unit');
  const [, whole = '', fraction = '', letter = '', ending = ''] = match;
  if (letter === '' && ending.toLowerCase() === 'ib')
    throw refuse('it is not a number with a unit');
  const base = letter !== '' && ending.toLowerCase() === 'b' ? 1000n : 1024n;
  const unit = base ** BigInt(POWERS[letter.toLowerCase()] ?? 0);
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * unit;
  if (scaled % scale !== 0n) throw refuse('it is not a whole number of bytes');
  const bytes = scaled / scale;
  if (bytes === 0n) throw refuse('it is zero');
  if (bytes > BigInt(SIZE_BYTES_MAX)) throw refuse(`it is more than ${formatSize(SIZE_BYTES_MAX)}`);
  return Number(bytes);
}

const UNITS: readonly string[] = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `10 GiB`, `1.5 MiB`, `812 B`: three significant digits at most, always powers of 1024. For people. */
export function formatSize(sizeBytes: number): string {
  let value = sizeBytes;
  let power = 0;
  while (value >= 1024 && power < UNITS.length - 1) {
    value /= 1024;
    power += 1;
  }
  // 1023.9 KiB would print as "1024 KiB".
  if (Math.round(value) === 1024 && power < UNITS.length - 1) {
    value = 1;
    power += 1;
  }
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${UNITS[power]}`;
}

/** The same with the exact bytes behind it where rounding hid some: `9.31 GiB (10000003072 bytes)`. */
export function formatSizeExact(sizeBytes: number): string {
  const short = formatSize(sizeBytes);
  const [number = '', unit = ''] = short.split(' ');
  const exact = Number(number) * 1024 ** UNITS.indexOf(unit);
  return exact === sizeBytes ? short : `${short} (${sizeBytes} bytes)`;
}
