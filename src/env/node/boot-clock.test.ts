import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { openBootClock } from './boot-clock.ts';

test(
  'the clock is that of /proc/uptime, and goes on',
  { skip: process.platform !== 'linux' },
  () => {
    const bootMs = openBootClock();
    const before = bootMs();
    // Hundredths of a second.
    const uptimeMs = Number(fs.readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000;
    const after = bootMs();
    assert.ok(
      before - 10 <= uptimeMs && uptimeMs <= after + 10,
      `${before}, ${uptimeMs}, ${after}`,
    );
    assert.ok(after > before);
  },
);
