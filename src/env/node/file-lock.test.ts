import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';

import { ENOENT, ErrnoError } from '../../model/errno.ts';
import { lockFile } from './file-lock.ts';

suite('file lock', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  after(() => fs.rmSync(folder, { recursive: true }));

  test('a second one learns who holds it, until it is released', () => {
    const file = path.join(folder, 'lock');
    const first = lockFile(file, 'the first, with a longer note');
    assert.equal(first.kind, 'locked');
    assert.deepEqual(lockFile(file, 'x'), { kind: 'held', note: 'the first, with a longer note' });
    first.release();
    const second = lockFile(file, 'the second');
    assert.deepEqual(lockFile(file, 'x'), { kind: 'held', note: 'the second' });
    assert.equal(second.kind, 'locked');
    second.release();
  });

  test('a killed holder holds nothing', async () => {
    const file = path.join(folder, 'killed');
    const code = [
      `const { lockFile } = await import('${path.resolve(import.meta.dirname, 'file-lock.ts')}');`,
      `lockFile('${file}', 'child');`,
      `console.log('locked');`,
      `setInterval(() => {}, 1e6);`,
    ];
    const child = spawn(process.execPath, ['--input-type=module', '-e', code.join('\n')]);
    const exited = new Promise((resolve) => {
      child.once('exit', resolve);
    });
    await new Promise((resolve) => {
      child.stdout.once('data', resolve);
    });
    assert.deepEqual(lockFile(file, 'x'), { kind: 'held', note: 'child' });
    child.kill('SIGKILL');
    await exited;
    const lock = lockFile(file, 'parent');
    assert.equal(lock.kind, 'locked');
    lock.release();
  });

  test('a folder that is not there is told by errno', () => {
    assert.throws(
      () => lockFile(path.join(folder, 'none', 'lock'), 'x'),
      (error) => error instanceof ErrnoError && error.errno === ENOENT,
    );
  });
});
