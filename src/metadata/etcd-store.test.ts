import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite } from 'node:test';

import { EtcdProcess, NO_ETCD } from '../../test/rigs/etcd-process.ts';
import { storeCompliance } from './compliance.ts';
import { EtcdStore } from './etcd-store.ts';

suite('etcd', { skip: NO_ETCD }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-etcd-'));
  let etcd: EtcdProcess;
  let count = 0;
  const prefixes = new WeakMap<object, string>();

  before(async () => void (etcd = await EtcdProcess.start({ directory })));
  after(async () => {
    await etcd.kill();
    rmSync(directory, { recursive: true, force: true });
  });

  async function open(prefix: string): Promise<EtcdStore> {
    const store = await EtcdStore.open({
      access: { endpoints: [etcd.endpoint] },
      prefix,
      writer: 'control',
      owner: 'test',
      rememberedRevision: 0,
      remember: () => undefined,
      randomId: () => randomUUID(),
    });
    prefixes.set(store, prefix);
    return store;
  }

  storeCompliance('etcd', {
    open: () => open(`test-${count++}`),
    reopen: async (store) => {
      await store.close();
      return await open(prefixes.get(store) ?? '');
    },
  });
});
