import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { test } from 'node:test';

import type { ClusterStore } from './cluster-store.ts';
import { storeCompliance } from './compliance.ts';
import { SqliteStore } from './sqlite-store.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-store-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
let count = 0;
const paths = new WeakMap<object, string>();

function open(path: string, bootId = 'boot'): SqliteStore {
  const bootMs = (): number => performance.timeOrigin + performance.now();
  const store = new SqliteStore({ path, bootMs, bootId, randomId: () => randomUUID() });
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

/** Writes by one handle on a file, and reads and watches by another one, as another process would. */
function openTwice(path: string): ClusterStore {
  const [writer, reader] = [open(path), open(path)];
  const both: ClusterStore = {
    get: (key) => reader.get(key),
    list: (prefix) => reader.list(prefix),
    transact: (transaction) => writer.transact(transaction),
    watch: (prefix, after, signal) => reader.watch(prefix, after, signal),
    grantLease: (ttlMs) => writer.grantLease(ttlMs),
    renewLease: (leaseId) => reader.renewLease(leaseId),
    revokeLease: (leaseId) => reader.revokeLease(leaseId),
    close: async () => {
      await writer.close();
      await reader.close();
    },
  };
  paths.set(both, path);
  return both;
}

storeCompliance('SQLite by two handles', {
  open: () => Promise.resolve(openTwice(join(directory, `${count++}.db`))),
  reopen: async (store) => {
    const path = paths.get(store) ?? '';
    await store.close();
    return openTwice(path);
  },
});

/** A process with `store` on `path`, which runs `body` and says lines. */
function run(path: string, body: string): ChildProcessByStdio<null, Readable, null> {
  const program = `
    import { SqliteStore } from ${JSON.stringify(join(import.meta.dirname, 'sqlite-store.ts'))};
    const store = new SqliteStore({
      path: ${JSON.stringify(path)}, bootMs: () => performance.timeOrigin + performance.now(), bootId: 'boot', randomId: () => 'child' });
    const say = (line) => process.stdout.write(line + '\\n');
    ${body}`;
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: [...stdio] });
}

/** The lines that it has said when there are `count` of them. */
async function linesOf(
  { stdout }: { readonly stdout: Readable },
  wanted: number,
): Promise<string[]> {
  let said = '';
  stdout.on('data', (chunk) => (said += String(chunk)));
  while (said.split('\n').length <= wanted) await once(stdout, 'data');
  return said.split('\n').slice(0, -1);
}

async function kill(child: ReturnType<typeof run>): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

/** Adds `n` to the counter, whatever others do to it meanwhile. */
const ADD = `
  async function add(n) {
    for (;;) {
      const { value = 0, version = 0 } = (await store.get('n')) ?? {};
      const conditions = [{ key: 'n', version }];
      const result = await store.transact({ conditions, puts: [{ key: 'n', value: value + n }] });
      if (result.kind === 'committed') return;
    }
  }`;

test('SIGKILL in the middle of transactions leaves each of them whole or absent, and harms no other process', async () => {
  const path = join(directory, 'killed.db');
  const other = open(path);
  for (let round = 0; round < 3; round++) {
    const child = run(
      path,
      `for (let n = 1; ; n++) {
        await store.transact({ puts: [{ key: 'a', value: n }, { key: 'b', value: n }] });
        say(n);
      }`,
    );
    const lines = await linesOf(child, 20);
    await other.transact({ puts: [{ key: 'other', value: round }] });
    await kill(child);
    const [a, b] = [(await other.get('a'))?.value, (await other.get('b'))?.value];
    assert.equal(a, b, 'both keys of a transaction are of one transaction');
    assert.ok(
      Number(a) >= Number(lines.at(-1)),
      `${lines.at(-1)} was answered, ${String(a)} is there`,
    );
    assert.equal((await other.get('other'))?.value, round);
  }
  await other.close();
});

test('processes that change one key at once lose no change, and each is watched by the other', async () => {
  const path = join(directory, 'counted.db');
  const ADDED = 100;
  const children = [1, 1000].map((n) =>
    run(
      path,
      `${ADD} for (let i = 0; i < ${ADDED}; i++) await add(${n}); say('done'); await store.close();`,
    ),
  );
  const store = open(path);
  const stop = new AbortController();
  const wanted = ADDED * 1001;
  let last = 0;
  const watching = (async () => {
    for await (const event of store.watch('n', 0, stop.signal)) {
      const value = event.kind === 'put' ? Number(event.entry.value) : Number.NaN;
      assert.ok(value === last + 1 || value === last + 1000, `${value} after ${last}`);
      last = value;
      if (value === wanted) stop.abort();
    }
  })();
  await watching;
  for (const child of children) if (child.exitCode === null) await once(child, 'exit');
  const { entries, revision } = await store.list('');
  assert.deepEqual(
    entries.map(({ key, value }) => [key, value]),
    [['n', wanted]],
  );
  assert.equal(revision, 2 * ADDED);
  await store.close();
});

test('what a process holds under a lease ends for all after it was killed', async () => {
  const path = join(directory, 'leased.db');
  const store = open(path);
  const { revision } = await store.list('');
  const stop = new AbortController();
  const events = store.watch('alive/', revision, stop.signal)[Symbol.asyncIterator]();
  const child = run(
    path,
    `const leaseId = await store.grantLease(400);
    await store.transact({ puts: [{ key: 'alive/child', value: 1, leaseId }] });
    setInterval(() => store.renewLease(leaseId), 50);`,
  );
  assert.equal((await events.next()).value?.kind, 'put');
  const next = events.next();
  const early = await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 700))]);
  assert.equal(early, undefined, 'it is renewed');
  await kill(child);
  assert.deepEqual((await next).value, { kind: 'delete', key: 'alive/child', revision: 2 });
  stop.abort();
  await store.close();
});

test('leases of another run of the machine are over, however much time they had', async () => {
  const path = join(directory, 'boot.db');
  const before = open(path, 'an earlier boot');
  const leaseId = await before.grantLease(3_600_000);
  await before.transact({ puts: [{ key: 'l', value: 1, leaseId }] });
  await before.close();
  const store = open(path);
  assert.equal(await store.renewLease(leaseId), false);
  for (let tries = 0; tries < 100 && (await store.get('l')) !== undefined; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(await store.get('l'), undefined);
  await store.close();
});

test('a process that stands still in its transaction is waited for, and the event loop goes on', async () => {
  const path = join(directory, 'held.db');
  const store = open(path);
  const child = run(
    path,
    `import { DatabaseSync } from 'node:sqlite';
    const other = new DatabaseSync(${JSON.stringify(path)});
    other.exec('BEGIN IMMEDIATE');
    say('held');
    setTimeout(() => other.exec('COMMIT'), 600);`,
  );
  await linesOf(child, 1);
  let turns = 0;
  const turning = setInterval(() => turns++, 10);
  const result = await store.transact({ puts: [{ key: 'a', value: 1 }] });
  clearInterval(turning);
  assert.equal(result.kind, 'committed');
  assert.ok(turns >= 5, `${turns} turns`);
  await kill(child);
  await store.close();
});
