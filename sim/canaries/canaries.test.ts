/** Some canaries, few seeds; `npm run canary` runs all. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CANARIES } from './canaries.ts';
import { PLACEMENT_CANARIES } from './placement-canaries.ts';
import { REPLICATION_CANARIES } from './replication-canaries.ts';

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

test('what each canary patches is there, once', () => {
  const root = new URL('../../', import.meta.url);
  const rotted: string[] = [];
  for (const { number, patches } of [...CANARIES, ...REPLICATION_CANARIES, ...PLACEMENT_CANARIES]) {
    for (const { file, find } of patches) {
      const count = fs.readFileSync(new URL(file, root), 'utf8').split(find).length - 1;
      if (count !== 1) rotted.push(`${number}: "${find}" occurs ${count} times in ${file}`);
    }
  }
  assert.deepEqual(rotted, []);
});
