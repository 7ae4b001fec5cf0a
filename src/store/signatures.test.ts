import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SIGNATURE_BYTES, findSignature } from './signatures.ts';

const IMAGE_BYTES = 320 * 2 ** 20;
const PATHS = ['/usr/sbin', '/sbin', '/usr/bin', '/bin'];

function programAt(name: string): string | undefined {
  return PATHS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** What is found on an image that `program` made. */
function signatureBy(program: string, args: readonly string[]): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-signature-'));
  try {
    const path = join(folder, 'image');
    const fd = openSync(path, 'w+');
    ftruncateSync(fd, IMAGE_BYTES);
    execFileSync(program, [...args, path], { stdio: 'pipe' });
    const start = new Uint8Array(SIGNATURE_BYTES);
    const end = new Uint8Array(SIGNATURE_BYTES);
    readSync(fd, start, 0, SIGNATURE_BYTES, 0);
    readSync(fd, end, 0, SIGNATURE_BYTES, fstatSync(fd).size - SIGNATURE_BYTES);
    closeSync(fd);
    return findSignature(start, end);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

for (const [program, args, name] of [
  ['mkfs.ext4', ['-q', '-F'], 'an ext2, ext3 or ext4 file system'],
  ['mkfs.ext2', ['-q', '-F'], 'an ext2, ext3 or ext4 file system'],
  ['mkfs.xfs', ['-q'], 'an xfs file system'],
  ['mkswap', [], 'swap space'],
] as const) {
  const path = programAt(program);
  const options = path === undefined ? { skip: `${program} is not installed` } : {};
  test(`what ${program} made is known by its name`, options, () => {
    assert.equal(signatureBy(path ?? '', args), name);
  });
}

/** Found on a blank device with these bytes `at` from its start, or before its end where negative. */
function planted(at: number, text: string): string | undefined {
  const start = new Uint8Array(SIGNATURE_BYTES);
  const end = new Uint8Array(SIGNATURE_BYTES);
  const bytes = Buffer.from(text, 'latin1');
  if (at >= 0) start.set(bytes, at);
  else end.set(bytes, SIGNATURE_BYTES + at);
  return findSignature(start, end);
}

// Offsets and magics as libblkid's probes have them, written down here a second time.
for (const [name, at, magic] of [
  ['a GPT partition table', 512, 'EFI PART'],
  ['a GPT partition table (its backup)', -512, 'EFI PART'],
  ['a GPT partition table (its backup)', -4096, 'EFI PART'],
  ['a partition table (MBR)', 510, '\x55\xaa'],
  ['an LVM physical volume', 512, 'LABELONE'],
  ['a LUKS volume', 0, 'LUKS\xba\xbe'],
  ['an md RAID member', 4096, '\xfc\x4e\x2b\xa9'],
  ['an md RAID member', 0, '\xfc\x4e\x2b\xa9'],
  // Version 0.90: 64 KiB before the end, rounded down; version 1.0: 8 KiB.
  ['an md RAID member', -65_536, '\xfc\x4e\x2b\xa9'],
  ['an md RAID member', -8192, '\xfc\x4e\x2b\xa9'],
  ['a btrfs file system', 65_600, '_BHRfS_M'],
  ['a bcache device', 4120, '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81'],
  ['a ZFS member', 131_072, '\x0c\xb1\xba\x00\x00\x00\x00\x00'],
  ['a ZFS member', 261_120, '\x00\x00\x00\x00\x00\xba\xb1\x0c'],
  ['a DRBD device', -4096 + 60, '\x83\x74\x02\x6d'],
  ['an ISO 9660 image', 32_769, 'CD001'],
  ['an NTFS file system', 3, 'NTFS    '],
  ['a Holdfast drive', 0, 'HOLDFAST'],
  ['a Holdfast drive (its superblock mirror)', -4096, 'HOLDFAST'],
  ['a Holdfast drive (its superblock mirror)', -8192, 'HOLDFAST'],
] as const) {
  test(`${name} is found at ${at}`, () => assert.equal(planted(at, magic), name));
}

test('a blank device, and one with a magic elsewhere, hold nothing', () => {
  assert.equal(planted(0, ''), undefined);
  assert.equal(planted(700, 'EFI PART'), undefined);
  assert.equal(planted(5000, 'HOLDFAST'), undefined);
});

test('devices smaller than what is looked at are looked at', () => {
  const small = new Uint8Array(4096);
  assert.equal(findSignature(small, small), undefined);
  small.set(Buffer.from('XFSB'), 0);
  assert.equal(findSignature(small, small), 'an xfs file system');
});
