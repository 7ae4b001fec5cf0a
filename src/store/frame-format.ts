/**
 * A frame: one write to the log ring, 1 to 256 blocks. Block 0 is the header and the records, the rest is payload.
 *
 *     word  0      magic
 *           1      checksum of block 0 with this word zero, seed (uuid32, salt low)
 *           2      the drive's 32-bit name
 *           3      blocks in the frame
 *           4,5    salt of this opening of the drive
 *           6,7    LSN: frames are numbered without gaps
 *           8,9    number of the checkpoint it builds on
 *           10,11  durable LSN when it was sealed: frames up to there are on media for certain
 *           12     checksum of the frame before: the chain
 *           13     words of records
 *           14,15  reserved
 *           16..   records
 *
 * Records, in words; their order is the order of effect:
 *
 *     WRITE   [1 | first << 8 | count << 16 | kind << 24] volume extent cell birth epoch freedCell checksum x count
 *             kind 0: the bytes were written to the cell itself; kind 1: they are the next `count` payload blocks of this frame
 *             freedCell: the cell this extent had before at this birth, free from now on; 0xffffffff: none
 *     TRIM    [2 | mask << 8] volume extent cell birth epoch freedCell
 *             blocks of mask now read as zeros; cell 0xffffffff: the version is gone and so is freedCell
 *     FREE    [3] volume extent cell             a version is gone (snapshot deletion)
 *     RETAG   [4 | keep << 8] volume extent cell birth    a version moves to another birth and keeps these decided blocks
 *     TABLE   [5] slot word x 126                a record of the volume table, whole
 *
 * Of volumes with several replicas; a drive with these has the incompatible feature REPLICAS (superblock.ts):
 *
 *     MARK    [6 | mask << 8 | grain << 24] volume extent epoch number(2)
 *             blocks of the 2^grain extents from `extent` on changed, last in `epoch` by change `number`: other replicas may not hold that
 *     DURABLE [7] volume epoch number(2)         marks of epochs below `epoch`, and of changes below `number`, are gone
 *     STAMP   [8] volume extent cell birth epoch the version in this cell changed last in `epoch`
 */

export const FRAME_MAGIC = 0x474c4648; // "HFLG"
export const FRAME_RECORDS = 16;
export const FRAME_RECORD_WORDS_MAX: number = 1024 - FRAME_RECORDS;

export const WRITE = 1;
export const TRIM = 2;
export const FREE = 3;
export const RETAG = 4;
export const TABLE = 5;
export const MARK = 6;
export const DURABLE = 7;
export const STAMP = 8;

export const WRITE_WORDS = 7;
export const TRIM_WORDS = 7;
export const FREE_WORDS = 4;
export const RETAG_WORDS = 5;
export const TABLE_RECORD_WORDS = 126;
export const TABLE_WORDS: number = 2 + TABLE_RECORD_WORDS;
export const MARK_WORDS = 6;
export const DURABLE_WORDS = 5;
export const STAMP_WORDS = 6;

export const DIRECT = 0;
export const PAYLOAD = 1;
export const NO_CELL = 0xffffffff;

/** The words that the record at `words[at]` takes, or 0 where it is none. */
export function recordWords(words: Uint32Array, at: number): number {
  const head = words[at] ?? 0;
  switch (head & 0xff) {
    case WRITE:
      return WRITE_WORDS + ((head >>> 16) & 0xff);
    case TRIM:
      return TRIM_WORDS;
    case FREE:
      return FREE_WORDS;
    case RETAG:
      return RETAG_WORDS;
    case TABLE:
      return TABLE_WORDS;
    case MARK:
      return MARK_WORDS;
    case DURABLE:
      return DURABLE_WORDS;
    case STAMP:
      return STAMP_WORDS;
    default:
      return 0;
  }
}
