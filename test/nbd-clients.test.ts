/**
 * Clients that others wrote, against a volume of a real installation: nbdinfo, nbdcopy both ways, qemu-io, qemu-img convert, fio
 * --verify. What they read is compared with what was written by other means.
 */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';

import { Installation } from '../bench/lib/installation.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const VOLUME_BYTES = 64 * MIB;
/** Ten times what the slowest of them takes on a busy machine of 2 cores. */
const HANG_MS = 120_000;

const folder = mkdtempSync(join(tmpdir(), 'holdfast-clients-'));
const installation = new Installation({ dataFolder: join(folder, 'data') });
let uri = '';

before(async () => {
  await installation.up({ driveSizeBytes: 512 * MIB });
  await installation.createVolume('clients', VOLUME_BYTES);
  uri = await installation.attachNbd('clients');
});

after(async () => {
  await installation.remove();
  rmSync(folder, { recursive: true, force: true });
});

/** A test that needs a program; where it is missing the test is skipped with the package's name. */
function withProgram(
  what: { readonly program: string; readonly debianPackage: string; readonly title: string },
  body: () => Promise<void>,
): void {
  const found = ['/usr/bin', '/usr/local/bin', '/usr/sbin'].some((path) =>
    existsSync(join(path, what.program)),
  );
  const skip = found ? false : `${what.program} is missing (Debian package ${what.debianPackage})`;
  test(`${what.program}: ${what.title}`, { skip, timeout: HANG_MS }, body);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

withProgram(
  { program: 'nbdinfo', debianPackage: 'libnbd-bin', title: 'sees what is advertised' },
  async () => {
    const { stdout } = await run('nbdinfo', ['--json', uri]);
    const [found] = (JSON.parse(stdout) as { exports: Record<string, unknown>[] }).exports;
    assert.equal(found?.['export-size'], VOLUME_BYTES);
    for (const able of [
      'can_multi_conn',
      'can_flush',
      'can_fua',
      'can_trim',
      'can_zero',
      'can_fast_zero',
      'can_cache',
      'can_df',
    ]) {
      assert.equal(found?.[able], true, able);
    }
    assert.deepEqual(
      [
        found?.['block_size_minimum'],
        found?.['block_size_preferred'],
        found?.['block_size_maximum'],
      ],
      [1, 4096, 32 * MIB],
    );
    assert.equal(found?.['is_read_only'], false);
  },
);

withProgram(
  {
    program: 'nbdcopy',
    debianPackage: 'libnbd-bin',
    title: 'copies in and out, and nbdinfo --map shows the holes',
  },
  async () => {
    const image = Buffer.alloc(VOLUME_BYTES);
    randomBytes(5 * MIB + 12_345).copy(image, 3 * MIB + 777);
    randomBytes(MIB).copy(image, 40 * MIB);
    const source = join(folder, 'source');
    const copy = join(folder, 'copy');
    writeFileSync(source, image);
    await run('nbdcopy', ['--flush', source, uri]);
    await run('nbdcopy', [uri, copy]);
    assert.equal(sha256(readFileSync(copy)), sha256(image));
    const { stdout } = await run('nbdinfo', ['--map', '--json', uri]);
    const extents = JSON.parse(stdout) as { offset: number; length: number; type: number }[];
    const data = extents
      .filter(({ type }) => type === 0)
      .reduce((sum, { length }) => sum + length, 0);
    const holes = extents
      .filter(({ type }) => type === 3)
      .reduce((sum, { length }) => sum + length, 0);
    assert.equal(data + holes, VOLUME_BYTES);
    assert.ok(data >= 6 * MIB && data < 8 * MIB, `${data} bytes of data`);
  },
);

withProgram(
  {
    program: 'qemu-io',
    debianPackage: 'qemu-utils',
    title: 'unaligned writes, zeroes, discards and reads with patterns',
  },
  async () => {
    const commands = [
      'write -P 0x11 0 1M',
      'write -P 0x22 1000 3000',
      'write -z 8192 4096',
      'write -z -u 64k 128k',
      'write -P 0x33 -f 300000 5',
      'discard 512k 256k',
      'flush',
      'read -P 0x11 0 1000',
      'read -P 0x22 1000 3000',
      'read -P 0x11 4000 4192',
      'read -P 0 8192 4096',
      'read -P 0 64k 128k',
      'read -P 0x33 300000 5',
      'read -P 0x11 300005 1000',
      'read -P 0 512k 256k',
    ];
    const { stdout } = await run('qemu-io', [
      ...commands.flatMap((command) => ['-c', command]),
      '-f',
      'raw',
      uri,
    ]);
    assert.doesNotMatch(stdout, /Pattern verification failed|error|failed/i);
    assert.equal(stdout.match(/^(wrote|read|discard) /gm)?.length, 14, stdout);
  },
);

withProgram(
  { program: 'qemu-img', debianPackage: 'qemu-utils', title: 'convert in, out, and compare' },
  async () => {
    const raw = join(folder, 'in.raw');
    const qcow2 = join(folder, 'in.qcow2');
    const image = Buffer.alloc(VOLUME_BYTES);
    randomBytes(9 * MIB).copy(image, 7 * MIB);
    writeFileSync(raw, image);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
    await run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, uri]);
    const { stdout } = await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', raw, uri]);
    assert.match(stdout, /Images are identical/);
    const out = join(folder, 'out.raw');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', uri, out]);
    assert.equal(sha256(readFileSync(out)), sha256(image));
  },
);

withProgram(
  {
    program: 'fio',
    debianPackage: 'fio',
    title: 'random writes of mixed sizes at depth 16 verify',
  },
  async () => {
    const { stdout } = await run('fio', [
      '--name=verify',
      // No file beside the sources.
      '--verify_state_save=0',
      '--ioengine=nbd',
      `--uri=${uri}`,
      '--rw=randwrite',
      '--bsrange=4k-256k',
      '--ba=4k',
      '--size=64m',
      '--iodepth=16',
      '--verify=crc32c',
      '--verify_fatal=1',
      '--do_verify=1',
      '--fsync=32',
    ]);
    assert.match(stdout, /err= 0/);
  },
);
