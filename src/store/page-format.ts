/**
 * Metadata pages. Each names itself, so that a lost, stale or misdirected write is told from the page that should be there.
 *
 *     word  0      magic
 *           1      checksum of the page with this word zero, seed (page number, generation)
 *           2      the drive's 32-bit name
 *           3      page number
 *           4      generation
 *           5,6    LSN of the last change in it
 *           16..   entries
 *
 *     owner page:     168 entries of 6 words: volume number (0: free), extent, birth, epoch, decided | data << 16, reserved
 *     checksum page:  1008 words
 *     table page:     8 records of 126 words (volume-table.ts)
 *     directory page: 1008 words (page number = its index; magic tells it from the others)
 */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { setU64 } from './superblock.ts';
import type { Media } from './media.ts';

export const PAGE_MAGIC = 0x47504648; // "HFPG"
export const DIRECTORY_MAGIC = 0x52444648; // "HFDR"
/** The first word of the entries. */
export const PAGE_ENTRIES = 16;
export const OWNER_WORDS = 6;

/** Fills in the header of the page at `address` and its checksum. */
export function sealPage(
  media: Media,
  address: number,
  header: {
    readonly magic: number;
    readonly page: number;
    readonly generation: number;
    readonly lsn: number;
  },
): void {
  const w = address >>> 2;
  const { words } = media;
  words[w] = header.magic;
  words[w + 1] = 0;
  words[w + 2] = media.uuid32;
  words[w + 3] = header.page;
  words[w + 4] = header.generation;
  setU64(words, w + 5, header.lsn);
  words.fill(0, w + 7, w + PAGE_ENTRIES);
  words[w + 1] = media.checksum(address, BLOCK_BYTES, header.page, header.generation);
}

/** Whether the page at `address` is what it should be; the generation too, unless it is undefined. */
export function isPage(
  media: Media,
  address: number,
  expected: { readonly magic: number; readonly page: number; readonly generation?: number },
): boolean {
  const w = address >>> 2;
  const { words } = media;
  const generation = words[w + 4] ?? 0;
  if (words[w] !== expected.magic || words[w + 2] !== media.uuid32) return false;
  if (words[w + 3] !== expected.page) return false;
  if (expected.generation !== undefined && generation !== expected.generation) return false;
  const stored = (words[w + 1] ?? 0) | 0;
  words[w + 1] = 0;
  const computed = media.checksum(address, BLOCK_BYTES, expected.page, generation);
  words[w + 1] = stored;
  return stored === computed;
}
