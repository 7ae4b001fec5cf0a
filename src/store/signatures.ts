/** What a file or device may hold already, so that formatting never destroys it unasked. Offsets are libblkid's. */

import { MAGIC_HIGH, MAGIC_LOW } from '../model/drive-mark.ts';

type Signature = {
  readonly name: string;
  readonly offset: number;
  /** The bytes, as Latin-1. */
  readonly bytes: string;
};

/** Bytes read at the start and at the end of a device: a whole label of ZFS. */
export const SIGNATURE_BYTES: number = 256 * 1024;

const AT_START: readonly Signature[] = [
  { name: 'a GPT partition table', offset: 512, bytes: 'EFI PART' },
  { name: 'a GPT partition table', offset: 4096, bytes: 'EFI PART' },
  ...[0, 512, 1024, 1536].map((offset) => ({
    name: 'an LVM physical volume',
    offset,
    bytes: 'LABELONE',
  })),
  { name: 'a LUKS volume', offset: 0, bytes: 'LUKS\xba\xbe' },
  { name: 'a LUKS volume', offset: 0, bytes: 'SKUL\xba\xbe' },
  { name: 'an md RAID member', offset: 0, bytes: '\xfc\x4e\x2b\xa9' },
  { name: 'an md RAID member', offset: 4096, bytes: '\xfc\x4e\x2b\xa9' },
  { name: 'an ext2, ext3 or ext4 file system', offset: 1080, bytes: '\x53\xef' },
  { name: 'an xfs file system', offset: 0, bytes: 'XFSB' },
  { name: 'a btrfs file system', offset: 65_600, bytes: '_BHRfS_M' },
  { name: 'swap space', offset: 4086, bytes: 'SWAPSPACE2' },
  { name: 'swap space', offset: 4086, bytes: 'SWAP-SPACE' },
  { name: 'an ISO 9660 image', offset: 32_769, bytes: 'CD001' },
  { name: 'an NTFS file system', offset: 3, bytes: 'NTFS    ' },
  { name: 'a FAT file system', offset: 54, bytes: 'FAT' },
  { name: 'a FAT file system', offset: 82, bytes: 'FAT32' },
  {
    name: 'a bcache device',
    offset: 4120,
    bytes: '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81',
  },
  { name: 'a qcow2 image', offset: 0, bytes: 'QFI\xfb' },
  { name: 'a Ceph OSD', offset: 0, bytes: 'bluestore block device' },
  { name: 'an f2fs file system', offset: 1024, bytes: '\x10\x20\xf5\xf2' },
  // Last: boot sectors of the others carry it too.
  { name: 'a partition table (MBR)', offset: 510, bytes: '\x55\xaa' },
];

/** ZFS uberblocks: slots of 1 KiB or more from here to the end of a label, each with this magic as a u64 of either byte order. */
const ZFS_UBERBLOCKS = 128 * 1024;
const ZFS_MAGIC = 0x00bab10c;
const DRBD_MAGICS = [0x8374026b, 0x8374026c, 0x8374026d];
const MD_MAGIC = 0xa92b4efc;

/** Names what the first and last {@link SIGNATURE_BYTES} of a device hold, or undefined. */
export function findSignature(start: Uint8Array, end: Uint8Array): string | undefined {
  const view = new DataView(start.buffer, start.byteOffset, start.byteLength);
  if (view.getUint32(0, true) === MAGIC_LOW && view.getUint32(4, true) === MAGIC_HIGH) {
    return 'a Holdfast drive';
  }
  for (const { name, offset, bytes } of AT_START) {
    if (hasBytes(start, offset, bytes)) return name;
  }
  for (let at = ZFS_UBERBLOCKS; at + 8 <= start.length; at += 1024) {
    const isZfs =
      view.getUint32(at, true) === ZFS_MAGIC || view.getUint32(at + 4, false) === ZFS_MAGIC;
    if (isZfs) return 'a ZFS member';
  }
  return findAtEnd(end);
}

function findAtEnd(end: Uint8Array): string | undefined {
  const view = new DataView(end.buffer, end.byteOffset, end.byteLength);
  if (hasBytes(end, end.length - 512, 'EFI PART')) return 'a GPT partition table (its backup)';
  if (hasBytes(end, end.length - 4096, 'EFI PART')) return 'a GPT partition table (its backup)';
  for (let at = end.length - 4096; at >= 0; at -= 4096) {
    const magic = view.getUint32(at, true);
    if (magic === MD_MAGIC) return 'an md RAID member';
    const holdfast =
      view.getUint32(at, true) === MAGIC_LOW && view.getUint32(at + 4, true) === MAGIC_HIGH;
    if (holdfast) return 'a Holdfast drive (its superblock mirror)';
    // DRBD's activity log superblock: 4 KiB before the end; its magic is big-endian at byte 60.
    for (const offset of [0, 60]) {
      if (DRBD_MAGICS.includes(view.getUint32(at + offset, false))) return 'a DRBD device';
    }
  }
  return undefined;
}

function hasBytes(bytes: Uint8Array, offset: number, wanted: string): boolean {
  if (offset < 0 || offset + wanted.length > bytes.length) return false;
  for (let index = 0; index < wanted.length; index++) {
    if (bytes[offset + index] !== wanted.charCodeAt(index)) return false;
  }
  return true;
}
