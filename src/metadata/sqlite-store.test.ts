import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { storeCompliance } from './compliance.ts';
import { SqliteStore } from './sqlite-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
let count = 0;
const paths = new WeakMap<object, string>();

function open(path: string): SqliteStore {
  const store = new SqliteStore({ path, wallMs: () => Date.now(), randomId: () => randomUUID() });
  paths.set(store, path);
  return store;
}

storeCompliance('SQLite', {
  open: () => Promise.resolve(open(join(directory, `${count++}.db`))),
  reopen: async (store) => {
    const path = paths.get(store) ?? '';
    await store.close();
    return open(path);
  },
});

test('SIGKILL in the middle of transactions leaves each of them whole or absent', async () => {
  const path = join(directory, 'killed.db');
  const program = `
    import { SqliteStore } from ${JSON.stringify(join(import.meta.dirname, 'sqlite-store.ts'))};
    const store = new SqliteStore({ path: ${JSON.stringify(path)}, wallMs: () => Date.now(), randomId: () => '1' });
    for (let n = 1; ; n++) {
      await store.transact({ puts: [{ key: 'a', value: n }, { key: 'b', value: n }] });
      process.stdout.write(n + '\\n');
    }`;
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
    let said = '';
    child.stdout.on('data', (chunk) => (said += String(chunk)));
    while (said.split('\n').length < 20) {
      assert.equal(child.exitCode, null, 'the child writes until it is killed');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    child.kill('SIGKILL');
    await once(child, 'close');
    const answered = Number(said.trim().split('\n').at(-1));
    const store = open(path);
    const a = Number((await store.get('a'))?.value);
    const b = Number((await store.get('b'))?.value);
    await store.close();
    assert.equal(a, b, 'both keys of a transaction are of one transaction');
    assert.ok(a >= answered, `transaction ${answered} was answered, ${a} is there`);
  }
});
