import assert from 'node:assert/strict';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Refusal } from '../model/errors.ts';
import { lockInstallation, lockWritable } from './installation-lock.ts';
import { type Installation, installationAt, makeDirectories } from './installation.ts';

let installation: Installation;

before(() => {
  installation = installationAt(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-lock-')));
  makeDirectories(installation);
});

after(() => fs.rmSync(installation.directory, { recursive: true }));

const isRunning = (error: unknown): boolean =>
  error instanceof Refusal && error.code === 'INSTALLATION_RUNNING';

test('a holder that runs is named, at once', async () => {
  const lock = lockInstallation(installation);
  await assert.rejects(lockWritable(installation), isRunning);
  lock.release();
  (await lockWritable(installation)).release();
});

test('a holder that is dead is waited for until the lock is free', async () => {
  const lock = lockInstallation(installation);
  // As a killed process does, whose last thread has not ended: the note names one that is gone, and the lock is held.
  const gone = spawn('true');
  const { pid } = gone;
  await once(gone, 'exit');
  fs.writeFileSync(path.join(installation.directory, 'lock'), JSON.stringify({ pid }));
  let isLocked = false;
  const waiting = lockWritable(installation).then((next) => {
    isLocked = true;
    return next;
  });
  await sleep(50);
  assert.equal(isLocked, false);
  lock.release();
  (await waiting).release();
});
