import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { makeDirectory } from './make-directory.ts';

let directory: string;

before(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-make-directory-'));
});

after(() => fs.rmSync(directory, { recursive: true }));

test('what is missing above it is made too, once', () => {
  const deep = path.join(directory, 'a', 'b', 'c');
  makeDirectory(deep, 0o700);
  makeDirectory(deep, 0o700);
  assert.equal(fs.statSync(path.dirname(deep)).mode & 0o777, 0o700);
  assert.ok(fs.statSync(deep).isDirectory());
});

test('where nothing can be made it says so, and does not try for ever', () => {
  assert.throws(() => makeDirectory('/proc/holdfast/drives', 0o700), { code: 'ENOENT' });
});

test('a file is no directory', () => {
  const file = path.join(directory, 'file');
  fs.writeFileSync(file, '');
  assert.throws(() => makeDirectory(file, 0o700), { code: 'EEXIST' });
  assert.throws(() => makeDirectory(path.join(file, 'below'), 0o700), { code: /ENOTDIR|EEXIST/ });
});
