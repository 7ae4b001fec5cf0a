/** What the CLI refuses, and how it says so: bad input, wrong order, no room. Nothing is changed by any of it. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { mountAt } from '../src/attacher/mount-table.ts';
import { whyNot } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { TEST_MOUNT, sweepEarlierTests } from './rigs/control-rig.ts';

const withoutDevices = whyNot('mkfs.ext4');
const device = withoutDevices === undefined ? {} : { skip: withoutDevices };
let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
  await rig.up();
  await rig.json('volume', 'create', 'data', '--size', '64MiB');
});

after(async () => {
  await rig.run(['volume', 'unmount', 'data']);
  await rig.run(['down']);
  await rig.close();
});

/** Runs what must be refused: with the code of the error, the exit code, and words that the message must have. */
async function refused(
  words: readonly string[],
  wanted: { readonly code: string; readonly says: RegExp; readonly exit?: number },
): Promise<void> {
  const ended = await rig.run([...words, '--output', 'json']);
  const what = `${words.join(' ')}: ${ended.code} ${ended.err}`;
  assert.equal(ended.code, wanted.exit ?? 1, what);
  assert.equal(ended.out, '', what);
  const problem = JSON.parse(ended.err) as { code: string; detail: string; wayOut?: string };
  assert.equal(problem.code, wanted.code, what);
  assert.match(`${problem.detail}\n${problem.wayOut ?? ''}`, wanted.says, what);
}

test('a second up is refused and names the first', async () => {
  const { processes } = await rig.json('status');
  const { supervisor } = processes as Record<string, { pid: number; startedAt: string }>;
  const since = supervisor!.startedAt.slice(0, 16);
  const says = new RegExp(`process ${supervisor!.pid}, since ${since}`);
  await refused(['up', '--detach'], { code: 'INSTALLATION_RUNNING', says });
  await refused(['up'], { code: 'INSTALLATION_RUNNING', says });
});

test('names', async () => {
  for (const [name, says] of [
    ['-x', /unknown option/],
    ['a b', /only letters, digits/],
    ['.x', /must begin with a letter or a digit/],
    ['x'.repeat(64), /63/],
    ['5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11', /looks like an id/],
  ] as const) {
    const ended = await rig.run(['volume', 'create', name, '--size', '64MiB']);
    assert.equal(ended.code, 2, `${name}: ${ended.err}`);
    assert.match(ended.err, says);
  }
  await refused(['volume', 'inspect', 'dato'], {
    code: 'VOLUME_NOT_FOUND',
    says: /did you mean "data"/,
  });
  await refused(['events', '--volume', 'dta'], {
    code: 'VOLUME_NOT_FOUND',
    says: /did you mean "data"/,
  });
});

test('drives: with volumes, twice, too large, on what is something, in use', async () => {
  await refused(['drive', 'rm', 'default', '--yes'], {
    code: 'DRIVE_IN_USE',
    says: /holds volume "data"/,
  });
  await refused(['drive', 'add', 'default', '--size', '2GiB'], {
    code: 'DRIVE_EXISTS',
    says: /a size of 1 GiB/,
  });
  const file = path.join(rig.data, 'drives', 'huge.img');
  await refused(['drive', 'add', 'huge', '--size', '4PiB'], {
    code: 'SPACE_SHORT',
    says: /are free/,
  });
  assert.ok(!fs.existsSync(file), 'nothing was made');
  const own = path.join(rig.data, 'drives', 'default.img');
  await refused(['drive', 'add', 'same', '--path', own], {
    code: 'DRIVE_PATH_USED',
    says: /is drive "default"/,
  });
  const foreign = path.join(rig.directory, 'foreign.img');
  fs.writeFileSync(foreign, Buffer.from('LUKS\xba\xbe', 'latin1'));
  fs.truncateSync(foreign, 128 * 2 ** 20);
  await refused(['drive', 'add', 'foreign', '--path', foreign], {
    code: 'DRIVE_SIGNATURE',
    says: /LUKS[^]*--force/,
  });
  assert.equal(fs.readFileSync(foreign, 'latin1').slice(0, 6), 'LUKS\xba\xbe');
  for (const text of ['notes of somebody\n', 'x'.repeat(5000)]) {
    const notes = path.join(rig.directory, 'notes.txt');
    fs.writeFileSync(notes, text);
    await refused(['drive', 'add', 'notes', '--path', notes, '--size', '128MiB', '--sparse'], {
      code: 'DRIVE_SIGNATURE',
      says: /notes\.txt": it holds data[^]*--force/,
    });
    assert.equal(fs.readFileSync(notes, 'utf8'), text);
  }
  await refused(['drive', 'add', 'small', '--size', '1MiB', '--sparse'], {
    code: 'DRIVE_TOO_SMALL',
    says: /: 1 MiB is less than the [\d.]+ MiB that a drive needs/,
  });
  assert.deepEqual(fs.readdirSync(path.join(rig.data, 'drives')), ['default.img']);
  await refused(['drive', 'check', 'default'], {
    code: 'DRIVE_BUSY',
    says: /a process holds it/,
  });
});

test('paths that cannot be drives say what they are', async () => {
  for (const [at, says] of [
    [rig.directory, /it is a directory/],
    ['/dev/null', /it is neither a file nor a block device/],
    ['/proc/self/none/drive', /its directory is not there|no such file/],
  ] as const) {
    const ended = await rig.run(['drive', 'add', 'odd', '--path', at, '--size', '128MiB']);
    assert.match(ended.err, says);
    assert.doesNotMatch(ended.err, /errno|direct I\/O/);
  }
  await refused(['drive', 'check', rig.directory], {
    code: 'PATH_INVALID',
    says: /it is a directory/,
    exit: 2,
  });
  const missing = path.join(rig.directory, 'missing.img');
  await refused(['drive', 'check', missing], {
    code: 'PATH_INVALID',
    says: /there is no such file/,
    exit: 2,
  });
});

test(
  'mounts that cannot be: on a file, of a volume too small for its file system',
  device,
  async () => {
    await rig.json('volume', 'create', 'tiny', '--size', '10MiB');
    const file = path.join(rig.directory, 'no-directory');
    fs.writeFileSync(file, '');
    await refused(['volume', 'mount', 'tiny', '--at', file], {
      code: 'MOUNT_PATH_USED',
      says: /no-directory": it is no directory/,
    });
    if (whyNot('mkfs.xfs') === undefined) {
      await refused(['volume', 'mount', 'tiny', '--fs', 'xfs', '--force', '--yes'], {
        code: 'MOUNT_FAILED',
        says: /too small for xfs, which needs 300MiB \(holdfast volume resize tiny --size 300MiB\)/,
      });
    }
    await rig.json('volume', 'rm', 'tiny', '--now', '--yes');
  },
);

test('attach: twice is once; otherwise, or removed meanwhile, is refused', async () => {
  const first = await rig.json('volume', 'attach', 'data', '--nbd');
  assert.match(String(first['uri']), /^nbd\+unix:\/\/\//);
  assert.deepEqual(await rig.json('volume', 'attach', 'data', '--nbd'), first);
  await refused(['volume', 'attach', 'data'], {
    code: 'VOLUME_ATTACHED_OTHERWISE',
    says: /as a block device: it is attached as an NBD socket\nDetach it first/,
  });
  await refused(['volume', 'mount', 'data'], { code: 'VOLUME_ATTACHED_OTHERWISE', says: /Detach/ });
  await refused(['volume', 'rm', 'data', '--yes'], {
    code: 'VOLUME_ATTACHED',
    says: /Detach it first/,
  });
  await rig.json('volume', 'detach', 'data');
});

test('sizes of volumes: only larger, same again', async () => {
  await refused(['volume', 'resize', 'data', '--size', '32MiB'], {
    code: 'VOLUME_SHRINK',
    says: /volumes only grow/,
  });
  await refused(['volume', 'create', 'data', '--size', '32MiB'], {
    code: 'VOLUME_EXISTS',
    says: /a size of 64 MiB/,
  });
  await rig.json('volume', 'create', 'data', '--size', '64MiB');
});

test('a size that is no multiple of a block is rounded up, and says so, in any unit', async () => {
  for (const [size, words, bytes] of [
    ['10KB', '12 KiB', 12_288],
    ['4097', '8 KiB', 8192],
  ] as const) {
    const made = await rig.run(['volume', 'create', 'odd', '--size', size]);
    assert.match(made.err, new RegExp(`^Size: ${size} is .*: rounded up to ${words}\\n$`));
    assert.equal((await rig.json('volume', 'inspect', 'odd'))['sizeBytes'], bytes);
    await rig.json('volume', 'rm', 'odd', '--now', '--yes');
  }
});

test('mounts: detach refused, other path refused, busy names the process', device, async () => {
  const { mount } = await rig.json('volume', 'mount', 'data');
  const { path: at } = mount as { path: string };
  await refused(['volume', 'detach', 'data'], {
    code: 'VOLUME_MOUNTED',
    says: new RegExp(`"${at}"`),
  });
  await refused(['volume', 'mount', 'data', '--at', '/mnt'], {
    code: 'VOLUME_MOUNTED_OTHERWISE',
    says: /Unmount it first/,
  });
  const user = spawn('sleep', ['60'], { cwd: at });
  try {
    const says = new RegExp(`process ${user.pid} \\(sleep\\) uses it`);
    await refused(['volume', 'unmount', 'data'], { code: 'MOUNT_BUSY', says });
    await refused(['down'], { code: 'MOUNT_BUSY', says });
    const { state } = await rig.json('volume', 'inspect', 'data');
    assert.equal(state, 'attached', 'a refused down leaves things as they were');
  } finally {
    const ended = new Promise((resolve) => user.once('exit', resolve));
    user.kill('SIGKILL');
    await ended;
  }
  await rig.json('volume', 'unmount', 'data');
  await refused(['volume', 'mount', 'data', '--fs', 'xfs'], {
    code: 'MOUNT_FOREIGN',
    says: /it holds ext4/,
  });
  const full = path.join(rig.directory, 'full');
  fs.mkdirSync(full);
  fs.writeFileSync(path.join(full, 'file'), '');
  await refused(['volume', 'mount', 'data', '--at', full], {
    code: 'MOUNT_PATH_USED',
    says: /not empty/,
  });
  assert.equal((await rig.json('volume', 'inspect', 'data'))['attachment'], null, 'undone');
});

test(
  'detach by force asks first, and takes a volume from whoever sits in its mount',
  device,
  async () => {
    const { mount } = await rig.json('volume', 'mount', 'data');
    const { path: at } = mount as { path: string };
    const user = spawn('sleep', ['60'], { cwd: at });
    try {
      for (const command of ['detach', 'unmount']) {
        await refused(['volume', command, 'data', '--force'], {
          code: 'CONFIRMATION_MISSING',
          says: /not flushed may be lost/,
          exit: 2,
        });
      }
      const view = await rig.json('volume', 'detach', 'data', '--force', '--yes');
      assert.deepEqual([view['attachment'], view['mount']], [null, null]);
      assert.equal(mountAt(at), undefined);
      await rig.json('volume', 'mount', 'data');
    } finally {
      user.kill('SIGKILL');
    }
    await rig.json('volume', 'unmount', 'data');
  },
);

test(
  'a place with too little room names what would fit, and one in memory is warned of',
  device,
  async () => {
    const at = path.join(rig.directory, 'memory');
    fs.mkdirSync(at);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1500m', TEST_MOUNT, at]);
    try {
      const words = ['drive', 'add', 'm', '--path', path.join(at, 'm.img'), '--size'];
      const says = /needs 2 GiB, and 1 GiB that stays free [^]*256MiB fits[^]*\(--sparse\)/;
      await refused([...words, '2GiB'], { code: 'SPACE_SHORT', says });
      execFileSync('mount', ['-o', 'remount,size=600m', at]);
      const short = await rig.run([...words, '2GiB']);
      assert.match(
        short.err,
        /are free\nFree some space, or choose another place \(--data DIR\)\n/,
      );
      const sparse = await rig.run([...words, '2GiB', '--sparse']);
      assert.match(sparse.err, /needs 1 GiB that stays free for the host, and 600 MiB are free\n/);
      fs.writeFileSync(path.join(at, 'm.img'), '');
      const made = await rig.run([...words, '128MiB', '--sparse']);
      assert.equal(made.code, 0, made.err);
      assert.match(made.out, /Warning: ".*" is on tmpfs, in memory: .* vanishes at a reboot/);
      await rig.json('drive', 'rm', 'm', '--yes');
    } finally {
      execFileSync('umount', ['-l', at]);
    }
  },
);

test('the host runs full while a drive is formatted', device, async () => {
  const at = path.join(rig.directory, 'tiny');
  fs.mkdirSync(at);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=32m', TEST_MOUNT, at]);
  try {
    const file = path.join(at, 'drive.img');
    fs.writeFileSync(file, '');
    fs.truncateSync(file, 2 ** 20);
    await refused(['drive', 'add', 'tiny', '--path', file, '--size', '256MiB'], {
      code: 'SPACE_SHORT',
      says: /needs 256 MiB/,
    });
    assert.equal((await rig.run(['status'])).code, 0, 'the engine lives');
    const drives = await rig.json('drive', 'ls');
    assert.equal(Object.keys(drives).length, 1);
  } finally {
    execFileSync('umount', ['-l', at]);
  }
});
