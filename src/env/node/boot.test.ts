import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { openBoot } from './boot.ts';

const name = (): string => `test${process.pid}${process.hrtime.bigint()}`;

test('a note is there for the next process, until it is taken back', () => {
  const note = name();
  const boot = openBoot();
  assert.match(boot.id, /^[0-9a-f]{32}$/);
  assert.equal(boot.noted(note), false);
  boot.note(note);
  boot.note(note);
  const next = openBoot();
  assert.equal(next.id, boot.id);
  assert.equal(next.noted(note), true);
  next.takeBack(note);
  next.takeBack(note);
  assert.equal(boot.noted(note), false);
});

test('what another boot noted is no note, nor is a link', (t) => {
  const note = name();
  const file = `/dev/shm/holdfast-${process.getuid?.() ?? 0}-${note}`;
  t.after(() => fs.rmSync(file, { force: true }));
  fs.writeFileSync(file, 'f'.repeat(32));
  const boot = openBoot();
  assert.equal(boot.noted(note), false);
  fs.rmSync(file);
  const target = path.join(os.tmpdir(), note);
  t.after(() => fs.rmSync(target, { force: true }));
  fs.writeFileSync(target, boot.id);
  fs.symlinkSync(target, file);
  assert.equal(boot.noted(note), false);
});

test('a directory that outlives the boot keeps no notes', (t) => {
  const boot = openBoot('/proc');
  const note = name();
  t.after(() => boot.takeBack(note));
  boot.note(note);
  assert.equal(boot.noted(note), false);
});
