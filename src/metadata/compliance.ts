/** What every cluster store must do. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { ClusterStore, WatchEvent } from './cluster-store.ts';

export type StoreUnderTest = {
  /** A store with nothing in it. */
  readonly open: () => Promise<ClusterStore>;
  /** Closes the store and opens it again with what it holds. */
  readonly reopen: (store: ClusterStore) => Promise<ClusterStore>;
};

export function storeCompliance(name: string, under: StoreUnderTest): void {
  const scenario = (
    what: string,
    run: (store: ClusterStore) => Promise<ClusterStore | void>,
  ): void => {
    test(`${name}: ${what}`, async () => {
      const store = await under.open();
      const last = await run(store);
      await (last ?? store).close();
    });
  };

  scenario('a put is read back, with the revision of its transaction', async (store) => {
    const result = await store.transact({
      puts: [{ key: 'a', value: { n: 1, deep: ['x', null] } }],
    });
    assert.ok(result.kind === 'committed');
    const entry = await store.get('a');
    assert.deepEqual(entry, {
      key: 'a',
      value: { n: 1, deep: ['x', null] },
      version: result.revision,
    });
    assert.equal(await store.get('b'), undefined);
  });

  scenario(
    'a transaction whose condition fails changes nothing and names the key',
    async (store) => {
      await store.transact({ puts: [{ key: 'a', value: 1 }] });
      const result = await store.transact({
        conditions: [
          { key: 'b', version: 0 },
          { key: 'a', version: 0 },
        ],
        puts: [{ key: 'b', value: 2 }],
        deletes: ['a'],
      });
      assert.deepEqual(result, { kind: 'conflict', key: 'a' });
      assert.equal(await store.get('b'), undefined);
      assert.equal((await store.get('a'))?.value, 1);
    },
  );

  scenario('of writers that race on one version, exactly one wins', async (store) => {
    await store.transact({ puts: [{ key: 'n', value: 0 }] });
    const version = (await store.get('n'))?.version ?? -1;
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, value) =>
        store.transact({ conditions: [{ key: 'n', version }], puts: [{ key: 'n', value }] }),
      ),
    );
    assert.equal(results.filter(({ kind }) => kind === 'committed').length, 1);
  });

  scenario('a list is ordered, bounded by its prefix, and tells its revision', async (store) => {
    const puts = ['v/b', 'v/a', 'w/a', 'v', 'v0'].map((key) => ({ key, value: key }));
    const result = await store.transact({ puts });
    assert.ok(result.kind === 'committed');
    const { entries, revision } = await store.list('v/');
    assert.deepEqual(
      entries.map(({ key }) => key),
      ['v/a', 'v/b'],
    );
    assert.equal(revision, result.revision);
  });

  scenario('a watch sees every change after its revision, in order, once', async (store) => {
    await store.transact({ puts: [{ key: 'w/1', value: 1 }] });
    const { revision } = await store.list('w/');
    await store.transact({
      puts: [
        { key: 'w/2', value: 2 },
        { key: 'x', value: 0 },
      ],
    });
    const stop = new AbortController();
    const seen: WatchEvent[] = [];
    const watching = (async () => {
      for await (const event of store.watch('w/', revision, stop.signal)) {
        seen.push(event);
        if (seen.length === 3) stop.abort();
      }
    })();
    await store.transact({ puts: [{ key: 'w/1', value: 3 }] });
    await store.transact({ deletes: ['w/2', 'w/none'] });
    await watching;
    assert.deepEqual(
      seen.map((event) =>
        event.kind === 'put' ? [event.entry.key, event.entry.value] : [event.key],
      ),
      [['w/2', 2], ['w/1', 3], ['w/2']],
    );
  });

  scenario(
    'what a lease holds vanishes when it ends, and not while it is renewed',
    async (store) => {
      const leaseId = await store.grantLease(500);
      await store.transact({ puts: [{ key: 'l', value: 1, leaseId }] });
      for (let round = 0; round < 4; round++) {
        await new Promise((resolve) => setTimeout(resolve, 150));
        assert.equal(await store.renewLease(leaseId), true);
      }
      assert.equal((await store.get('l'))?.value, 1);
      for (let tries = 0; tries < 100 && (await store.get('l')) !== undefined; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal(await store.get('l'), undefined);
      assert.equal(await store.renewLease(leaseId), false);
      await assert.rejects(store.transact({ puts: [{ key: 'l', value: 2, leaseId }] }));
    },
  );

  scenario('a revoked lease takes its entries along', async (store) => {
    const leaseId = await store.grantLease(60_000);
    await store.transact({
      puts: [
        { key: 'l', value: 1, leaseId },
        { key: 'free', value: 1 },
      ],
    });
    await store.revokeLease(leaseId);
    assert.equal(await store.get('l'), undefined);
    assert.equal((await store.get('free'))?.value, 1);
  });

  scenario('everything is there after a reopen, and revisions go on', async (store) => {
    const before = await store.transact({ puts: [{ key: 'a', value: 'x' }] });
    const again = await under.reopen(store);
    assert.equal((await again.get('a'))?.value, 'x');
    const after = await again.transact({ puts: [{ key: 'b', value: 'y' }] });
    assert.ok(before.kind === 'committed' && after.kind === 'committed');
    assert.ok(after.revision > before.revision);
    return again;
  });
}
