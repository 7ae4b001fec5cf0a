import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { device } from './cli-rig.ts';
import { TEST_MOUNT, sweepEarlierTests } from './control-rig.ts';

/** No process has it: the kernel's numbers end at 2^22. */
const DEAD_PID = 2 ** 22 + 1;

test('what a killed test left mounted in memory is swept', device, async () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `hf-control-${DEAD_PID}-`));
  const at = path.join(directory, 'memory');
  fs.mkdirSync(at);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', TEST_MOUNT, at]);
  fs.writeFileSync(path.join(at, 'left'), '');
  await sweepEarlierTests();
  assert.equal(fs.existsSync(directory), false);
});
