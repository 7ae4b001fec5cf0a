import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { rotateLogs } from './log-rotation.ts';

test('a log that has grown is copied and cut, and its writer goes on at its start', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-logs-'));
  try {
    const file = path.join(directory, 'engine.log');
    const writer = fs.openSync(file, 'a');
    fs.writeSync(writer, 'old\n'.repeat(100));
    fs.writeFileSync(path.join(directory, 'small.log'), 'small');
    rotateLogs(directory, 100);
    fs.writeSync(writer, 'new\n');
    fs.closeSync(writer);
    assert.equal(fs.readFileSync(file, 'utf8'), 'new\n');
    assert.equal(fs.readFileSync(`${file}.1`, 'utf8'), 'old\n'.repeat(100));
    rotateLogs(directory, 100);
    assert.deepEqual(fs.readdirSync(directory), ['engine.log', 'engine.log.1', 'small.log']);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
});

test('logs that somebody deleted with their directory are no reason to end', () => {
  rotateLogs(path.join(os.tmpdir(), 'holdfast-logs-that-are-gone'), 100);
});
