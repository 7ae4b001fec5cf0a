import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { summarize } from './run-tests.ts';
import { type FileOutcome, runTestFile } from './test-file.ts';

// Node's runner would take what is started from here for its own.
delete process.env['NODE_TEST_CONTEXT'];

/** What comes of a file with this text. */
async function outcomeOf(text: string): Promise<FileOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'hf-test-file-'));
  try {
    const file = join(folder, 'some.test.mjs');
    writeFileSync(file, `import { suite, test } from 'node:test';\n${text}`);
    return { ...(await runTestFile(file, 30_000)), file: 'some.test.mjs' };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether `npm test` would pass with these outcomes; `ci`: where CI=true. */
function passes(outcomes: readonly FileOutcome[], ci: boolean): boolean {
  const before = process.env['CI'];
  process.env['CI'] = String(ci);
  try {
    return summarize(outcomes, 0, () => undefined).failed === 0;
  } finally {
    if (before === undefined) delete process.env['CI'];
    else process.env['CI'] = before;
  }
}

test('a test that passes passes, and one that fails, a crash and a file without tests do not', async () => {
  const [good, ...bad] = await Promise.all([
    outcomeOf(`test('a', () => {});`),
    outcomeOf(`test('a', () => { throw new Error('no'); });`),
    outcomeOf(`suite('s', () => { test('a', () => { throw new Error('no'); }); });`),
    outcomeOf(`test('a', () => {}); process.on('exit', () => process.exit(3));`),
    outcomeOf(`test('a', () => {}); await test('b', () => process.exit(0));`),
    outcomeOf(''),
  ]);
  assert.ok(good !== undefined && passes([good], true));
  for (const outcome of bad) assert.ok(!passes([outcome], false), outcome.output);
});

test('what is skipped is listed with its reason, a suite too, and fails with CI=true', async () => {
  const outcome = await outcomeOf(`
    test('a', { skip: 'no root' }, () => {});
    suite('s', { skip: 'no etcd' }, () => { test('b', () => {}); });
  `);
  assert.deepEqual(outcome.tests, [
    { name: 'a', outcome: 'skipped', reason: 'no root' },
    { name: 's', outcome: 'skipped', reason: 'no etcd' },
  ]);
  assert.ok(passes([outcome], false));
  assert.ok(!passes([outcome], true));
});
