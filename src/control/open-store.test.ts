import assert from 'node:assert/strict';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { Refusal } from '../model/errors.ts';
import { etcdSettingsOf, openStore, readStore, sqliteFileOf } from './open-store.ts';
import { restoreEntries } from './store-move.ts';

const directory = fs.mkdtempSync(path.join(tmpdir(), 'holdfast-open-store-'));
process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
const shared = path.join(directory, 'state.db');

/** An installation whose store.json is `text`. */
function installation(name: string, text: string): string {
  const at = path.join(directory, name);
  fs.mkdirSync(at);
  fs.writeFileSync(path.join(at, 'store.json'), text);
  return at;
}

test('installations whose store.json names one SQLite file have the same records', async () => {
  const text = JSON.stringify({ version: 1, sqlite: shared });
  const [a, b] = [installation('a', text), installation('b', text)];
  assert.equal(sqliteFileOf(a), shared);
  assert.equal(etcdSettingsOf(a), undefined);
  const writer = await openStore(a);
  await writer.transact({ puts: [{ key: 'volume/db', value: 1 }] });
  const reader = await readStore(b);
  assert.equal((await reader?.get('volume/db'))?.value, 1);
  assert.equal(fs.statSync(shared).mode & 0o777, 0o600);
  assert.deepEqual(fs.readdirSync(a), ['store.json']);
  // A backup is put back by nobody while others work with the records.
  const leaseId = await writer.grantLease(60_000);
  await writer.transact({ puts: [{ key: 'alive/a', value: {}, leaseId }] });
  await assert.rejects(restoreEntries(b, []), /nodes of the cluster work with these records \(a\)/);
  await writer.revokeLease(leaseId);
  await restoreEntries(b, [{ key: 'volume/db', value: 2 }]);
  assert.equal((await writer.get('volume/db'))?.value, 2);
  await reader?.close();
  await writer.close();
});

test('a store.json that names a SQLite file otherwise than it should is refused', () => {
  const cases = [
    ['nameless', '{"sqlite":""}', /name of a file/],
    ['both', '{"sqlite":"/x/state.db","endpoints":["http://a:2379"]}', /"endpoints" is nothing/],
    ['later', '{"version":2,"sqlite":"/x/state.db"}', /has version 2/],
  ] as const;
  for (const [name, text, problem] of cases) {
    const at = installation(name, text);
    assert.throws(
      () => sqliteFileOf(at),
      (error) =>
        error instanceof Refusal && error.code === 'STORE_SETTINGS' && problem.test(error.message),
    );
  }
});
