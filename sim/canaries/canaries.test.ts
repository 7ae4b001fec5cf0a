/** Some canaries, few seeds; `npm run canary` runs all. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

test('the simulator catches a store that is broken on purpose', async () => {
  const main = fileURLToPath(new URL('main.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [
    main,
    '--short',
    '--seeds',
    '150',
  ]);
  assert.match(stdout, /^([1-9]\d*) of \1 canaries caught$/m);
});
