import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { makeRunDirectory, runDirectoryOf } from './run-directory.ts';

/** A fresh folder with a path that is too long for sockets in it, or is not. */
function folder(t: { after(end: () => void): void }, nameBytes: number): string {
  const base = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-run-')));
  t.after(() => fs.rmSync(base, { recursive: true, force: true }));
  return path.join(base, 'd'.repeat(nameBytes));
}

test('a short path has its run directory in it', (t) => {
  const directory = folder(t, 4);
  assert.equal(runDirectoryOf(directory), path.join(directory, 'run'));
  assert.ok(!fs.existsSync(directory), 'asking makes nothing');
  assert.equal(makeRunDirectory(directory), path.join(directory, 'run'));
  assert.equal(makeRunDirectory(directory), path.join(directory, 'run'));
  assert.ok(fs.statSync(path.join(directory, 'run', 'nbd')).isDirectory());
});

test('a long path has a link, which is made again where it leads nowhere', (t) => {
  const directory = folder(t, 100);
  const made = makeRunDirectory(directory);
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  assert.ok(made.length < 60);
  assert.equal(fs.readlinkSync(path.join(directory, 'run')), made);
  assert.equal(runDirectoryOf(directory), made);

  fs.rmSync(made, { recursive: true });
  assert.equal(makeRunDirectory(directory), made);
  assert.ok(fs.statSync(path.join(directory, 'run', 'nbd')).isDirectory());

  const moved = `${directory}-moved`;
  fs.renameSync(directory, moved);
  fs.rmSync(made, { recursive: true });
  const remade = makeRunDirectory(moved);
  t.after(() => fs.rmSync(remade, { recursive: true, force: true }));
  assert.notEqual(remade, made);
  assert.equal(fs.realpathSync(path.join(moved, 'run')), remade);
});

test('a copy of a long path has a run directory of its own, and another TMPDIR finds the one that is there', (t) => {
  const directory = folder(t, 100);
  const made = makeRunDirectory(directory);
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  const copy = `${directory}-copy`;
  fs.mkdirSync(copy);
  fs.symlinkSync(made, path.join(copy, 'run'));
  const own = makeRunDirectory(copy);
  t.after(() => fs.rmSync(own, { recursive: true, force: true }));
  assert.notEqual(own, made);
  assert.equal(fs.readlinkSync(path.join(copy, 'run')), own);
  const before = process.env['TMPDIR'];
  process.env['TMPDIR'] = '/var/tmp';
  t.after(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  assert.equal(runDirectoryOf(directory), made);
});

test('what somebody else made in its place, or may write to, is refused', (t) => {
  const directory = folder(t, 100);
  fs.mkdirSync(directory);
  const resolved = runDirectoryOf(directory);
  t.after(() => fs.rmSync(resolved, { recursive: true, force: true }));
  const foreign = [
    () => fs.chmodSync(resolved, 0o777),
    ...(process.getuid?.() === 0 ? [() => fs.chownSync(resolved, 65_534, 65_534)] : []),
    () => {
      fs.rmdirSync(resolved);
      fs.symlinkSync(path.dirname(directory), resolved);
    },
  ];
  for (const make of foreign) {
    fs.mkdirSync(resolved, { mode: 0o700 });
    make();
    assert.throws(() => makeRunDirectory(directory), /somebody else made it or may write to it/);
    assert.ok(!fs.existsSync(path.join(resolved, 'nbd')), 'nothing was put into it');
    fs.rmSync(resolved, { recursive: true });
  }
  assert.equal(makeRunDirectory(directory), resolved);
});
