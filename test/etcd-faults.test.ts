/** The cluster store on a real etcd that fails: docs/cluster-store.md. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import type { WatchEvent } from '../src/metadata/cluster-store.ts';
import { type EtcdAccess, EtcdGateway } from '../src/metadata/etcd-gateway.ts';
import { EtcdStore, type EtcdStoreOptions } from '../src/metadata/etcd-store.ts';
import { EtcdProcess, NO_ETCD, freePort } from './rigs/etcd-process.ts';
import { TcpRelay } from './rigs/tcp-relay.ts';

suite('etcd that fails', { skip: NO_ETCD, concurrency: true }, () => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-etcd-'));
  const ends: (() => Promise<void> | void)[] = [];
  after(async () => {
    for (const end of ends.toReversed()) await end();
    rmSync(root, { recursive: true, force: true });
  });

  async function etcdWith(options: { args?: string[]; tls?: Tls } = {}): Promise<EtcdProcess> {
    const directory = join(root, randomUUID());
    mkdirSync(directory);
    const etcd = await EtcdProcess.start({ directory, ...options });
    ends.push(() => etcd.kill());
    return etcd;
  }

  async function relayTo(etcd: EtcdProcess): Promise<TcpRelay> {
    const relay = await TcpRelay.to(etcd.endpoint);
    ends.push(() => relay.close());
    return relay;
  }

  async function open(
    access: EtcdAccess,
    options: Partial<EtcdStoreOptions> = {},
  ): Promise<EtcdStore> {
    const store = await EtcdStore.open({
      access,
      prefix: 'p',
      writer: 'control',
      owner: 'us',
      rememberedRevision: 0,
      remember: () => undefined,
      randomId: () => randomUUID(),
      ...options,
    });
    ends.push(() => store.close());
    return store;
  }

  test('an answer that is lost on the way: the transaction takes effect once, and its revision is told', async () => {
    const etcd = await etcdWith();
    const relay = await relayTo(etcd);
    const store = await open({ endpoints: [relay.endpoint, etcd.endpoint] });
    relay.mode = 'mute';
    const result = await store.transact({ puts: [{ key: 'a', value: 1 }] });
    assert.ok(result.kind === 'committed');
    assert.deepEqual(await changesOf(store, 'a'), [result.revision]);
  });

  test('a transaction that arrives after its outcome was settled has no effect', async () => {
    const etcd = await etcdWith();
    const relay = await relayTo(etcd);
    const store = await open({ endpoints: [relay.endpoint, etcd.endpoint] });
    const other = await open({ endpoints: [etcd.endpoint] }, { writer: 'other' });
    await other.transact({ puts: [{ key: 'there', value: 1 }] });
    relay.mode = 'hold';
    const refused = await store.transact({
      conditions: [{ key: 'there', version: 0 }],
      puts: [{ key: 'a', value: 'late' }],
    });
    assert.deepEqual(refused, { kind: 'conflict', key: 'there' });
    await other.transact({ deletes: ['there'] });
    relay.release();
    await pause(300);
    assert.equal(await store.get('a'), undefined);
    assert.equal((await store.transact({ puts: [{ key: 'a', value: 1 }] })).kind, 'committed');
  });

  test('no answer at all is a fault, and what is read afterwards is settled', async () => {
    const etcd = await etcdWith();
    const relay = await relayTo(etcd);
    const store = await open({ endpoints: [relay.endpoint], patienceMs: 1200 });
    relay.mode = 'hold';
    const put = { puts: [{ key: 'a', value: 'late' }] };
    await assert.rejects(store.transact(put), { code: 'STORE_UNREACHABLE' });
    await assert.rejects(store.get('a'), { code: 'STORE_UNREACHABLE' });
    relay.mode = 'pass';
    assert.equal(await store.get('a'), undefined);
    relay.release();
    await pause(300);
    assert.equal(await store.get('a'), undefined);
    relay.mode = 'mute';
    await assert.rejects(store.transact(put), { code: 'STORE_UNREACHABLE' });
    relay.mode = 'pass';
    relay.reset();
    assert.equal((await store.get('a'))?.value, 'late');
    assert.equal((await changesOf(store, 'a')).length, 1);
  });

  test('one endpoint dead, one silent, one slow', async () => {
    const etcd = await etcdWith();
    const silent = await relayTo(etcd);
    silent.mode = 'hold';
    const dead = `http://127.0.0.1:${await freePort()}`;
    const store = await open({ endpoints: [dead, silent.endpoint, etcd.endpoint] });
    const startMs = performance.now();
    for (let n = 0; n < 20; n++) await store.transact({ puts: [{ key: 'a', value: n }] });
    assert.ok(performance.now() - startMs < 900, 'it stays with the endpoint that answers');
    assert.equal((await changesOf(store, 'a')).length, 20);
  });

  test('killed, stopped and started again: nothing is lost, nothing twice, a watch goes on', async () => {
    const etcd = await etcdWith();
    const store = await open({ endpoints: [etcd.endpoint] });
    const stop = new AbortController();
    const seen: unknown[] = [];
    const watching = (async () => {
      for await (const event of store.watch('', 0, stop.signal)) {
        seen.push(event.kind === 'put' && event.entry.value);
        if (seen.length === 30) stop.abort();
      }
    })();
    for (let n = 0; n < 30; n++) {
      const transacting = store.transact({ puts: [{ key: 'a', value: n }] });
      if (n === 10) {
        await etcd.kill();
        await etcd.up();
      }
      if (n === 20) {
        etcd.signal('SIGSTOP');
        await pause(1_200);
        etcd.signal('SIGCONT');
      }
      assert.equal((await transacting).kind, 'committed');
    }
    await watching;
    assert.deepEqual(
      seen,
      Array.from({ length: 30 }, (_, n) => n),
    );
  });

  test('an etcd that lost its data is told from one that is new', async () => {
    const etcd = await etcdWith();
    let remembered = 0;
    const options = { remember: (revision: number) => void (remembered = revision) };
    const store = await open({ endpoints: [etcd.endpoint] }, options);
    await store.transact({ puts: [{ key: 'a', value: 1 }] });
    const watching = last(store.watch('', 0, new AbortController().signal));
    const watched = assert.rejects(watching, { code: 'STORE_WENT_BACK' });
    await etcd.kill();
    etcd.loseData();
    await etcd.up();
    const went = { code: 'STORE_WENT_BACK' };
    await assert.rejects(store.transact({ puts: [{ key: 'a', value: 2 }] }), went);
    await assert.rejects(store.get('a'), went);
    await watched;
    // Others may write so much that the revision alone tells nothing.
    const other = await open({ endpoints: [etcd.endpoint] }, { writer: 'other' });
    for (let n = 0; n < 5; n++) await other.transact({ puts: [{ key: 'b', value: n }] });
    const again = { ...options, rememberedRevision: remembered };
    await assert.rejects(open({ endpoints: [etcd.endpoint] }, again), went);
  });

  test('an etcd without room says so, reads go on, and it is used again once it has room', async () => {
    const etcd = await etcdWith({ args: ['--quota-backend-bytes=1000000'] });
    const store = await open({ endpoints: [etcd.endpoint] });
    const value = 'x'.repeat(300_000);
    const fill = async (): Promise<void> => {
      for (;;) await store.transact({ puts: [{ key: 'big', value }] });
    };
    await assert.rejects(fill(), { code: 'STORE_FULL' });
    assert.equal((await store.get('big'))?.value, value);
    const { revision } = await store.list('');
    const gateway = new EtcdGateway({ endpoints: [etcd.endpoint] });
    await gateway.call('kv/compaction', { revision: String(revision), physical: true });
    await gateway.call('maintenance/defragment', {});
    const status = await gateway.call('maintenance/status', {});
    assert.ok(status.kind === 'answer');
    const { member_id: memberID } = status.message['header'] as { member_id: string };
    const disarm = { action: 'DEACTIVATE', alarm: 'NOSPACE', memberID };
    await gateway.call('maintenance/alarm', disarm);
    gateway.close();
    assert.equal((await store.transact({ puts: [{ key: 'a', value: 1 }] })).kind, 'committed');
  });

  test('compaction: a watch that needs what is gone is told, one that does not goes on', async () => {
    const etcd = await etcdWith();
    const store = await open({ endpoints: [etcd.endpoint] });
    for (let n = 0; n < 700; n++) await store.transact({ puts: [{ key: `k${n}`, value: n }] });
    const { revision, entries } = await store.list('');
    assert.equal(entries.length, 700, 'more than one page');
    const stop = new AbortController();
    const next = last(store.watch('', revision, stop.signal), stop);
    await pause(100);
    const gateway = new EtcdGateway({ endpoints: [etcd.endpoint] });
    await gateway.call('kv/compaction', { revision: String(revision) });
    gateway.close();
    await store.transact({ puts: [{ key: 'a', value: 1 }] });
    assert.equal((await next)?.kind, 'put');
    const old = last(store.watch('', 3, new AbortController().signal));
    await assert.rejects(old, { code: 'STORE_COMPACTED' });
  });

  test('who starts later writes, and the one before is told; another owner is refused', async () => {
    const etcd = await etcdWith();
    const access = { endpoints: [etcd.endpoint] };
    const first = await open(access);
    const second = await open(access);
    const put = { puts: [{ key: 'a', value: 1 }] };
    await assert.rejects(first.transact(put), { code: 'STORE_TAKEN' });
    assert.equal((await second.transact(put)).kind, 'committed');
    await assert.rejects(open(access, { owner: 'them' }), { code: 'STORE_TAKEN' });
  });

  test('TLS both ways, a user with rights on its prefix alone, and tokens that end', async () => {
    const tls = makeCertificates(join(root, 'tls'));
    const etcd = await etcdWith({ tls });
    const read = (name: string): string => readFileSync(join(root, 'tls', name), 'utf8');
    const own = { ca: read('ca.pem'), cert: read('client.pem'), key: read('client.key') };
    const access = { endpoints: [etcd.endpoint], tls: own };
    await enableUsers(access);
    const user = { name: 'holdfast', password: 'right' };
    const store = await open({ ...access, user });
    await store.transact({ puts: [{ key: 'a', value: 1 }] });
    const stop = new AbortController();
    const next = last(store.watch('', (await store.list('')).revision, stop.signal), stop);
    // Its tokens end with it.
    await etcd.kill();
    await etcd.up();
    assert.equal((await store.transact({ puts: [{ key: 'a', value: 2 }] })).kind, 'committed');
    assert.equal((await next)?.kind, 'put');
    const denied = { code: 'STORE_DENIED' };
    await assert.rejects(open({ ...access, user: { ...user, password: 'wrong' } }), denied);
    await assert.rejects(open(access), denied);
    await assert.rejects(open({ ...access, user }, { prefix: 'elsewhere' }), denied);
    const named = { ...own, cert: read('named.pem'), key: read('named.key') };
    await assert.rejects(open({ ...access, tls: named, user }), denied);
    const stranger = { ...access, tls: { ca: own.ca }, patienceMs: 300 };
    await assert.rejects(open({ ...stranger, user }), { code: 'STORE_UNREACHABLE' });
    const trusting = { ...access, tls: { ...own, ca: own.cert }, patienceMs: 300 };
    await assert.rejects(open({ ...trusting, user }), /certificate/);
  });
});

/** The last event of what is watched; with `stop`, the first. */
async function last(
  events: AsyncIterable<WatchEvent>,
  stop?: AbortController,
): Promise<WatchEvent | undefined> {
  let found: WatchEvent | undefined;
  for await (const event of events) {
    found = event;
    stop?.abort();
  }
  return found;
}

/** The revisions in which `key` was put. */
async function changesOf(store: EtcdStore, key: string): Promise<number[]> {
  const stop = new AbortController();
  const { revision } = await store.transact({ puts: [{ key: 'end', value: 1 }] }).then((end) => {
    assert.ok(end.kind === 'committed');
    return end;
  });
  const found: number[] = [];
  for await (const event of store.watch('', 0, stop.signal)) {
    if (event.kind === 'put' && event.entry.key === key) found.push(event.revision);
    if (event.revision === revision) stop.abort();
  }
  return found;
}

type Tls = { readonly cert: string; readonly key: string; readonly ca: string };

/** An authority, a server's certificate and a client's. The server's is a client's too: the gateway calls its own member with it. */
function makeCertificates(directory: string): Tls {
  mkdirSync(directory);
  const at = (name: string): string => join(directory, name);
  const openssl = (words: string[]): void => void execFileSync('openssl', words, { stdio: 'pipe' });
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const authority = ['-x509', '-subj', '/CN=test', '-days', '2', '-keyout', at('ca.key')];
  openssl(['req', ...newKey, ...authority, '-out', at('ca.pem')]);
  writeFileSync(
    at('server.ext'),
    'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n',
  );
  for (const name of ['client', 'named']) {
    writeFileSync(at(`${name}.ext`), 'extendedKeyUsage=clientAuth\n');
  }
  for (const [name, subject] of [
    ['server', '/CN=server'],
    ['client', '/O=Holdfast'],
    ['named', '/CN=holdfast'],
  ] as const) {
    const request = ['-subj', subject, '-keyout', at(`${name}.key`), '-out', at('csr')];
    openssl(['req', ...newKey, ...request]);
    const signing = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2'];
    const to = ['-extfile', at(`${name}.ext`), '-out', at(`${name}.pem`)];
    openssl(['x509', '-req', '-in', at('csr'), ...signing, ...to]);
  }
  return { cert: at('server.pem'), key: at('server.key'), ca: at('ca.pem') };
}

async function enableUsers(access: EtcdAccess): Promise<void> {
  const gateway = new EtcdGateway(access);
  const permission = { permType: 2, key: btoa('p/'), range_end: btoa('p0') };
  for (const [path, message] of [
    ['auth/user/add', { name: 'root', password: 'root' }],
    ['auth/user/add', { name: 'holdfast', password: 'right' }],
    ['auth/role/add', { name: 'root' }],
    ['auth/role/add', { name: 'holdfast' }],
    ['auth/role/grant', { name: 'holdfast', perm: permission }],
    ['auth/user/grant', { user: 'root', role: 'root' }],
    ['auth/user/grant', { user: 'holdfast', role: 'holdfast' }],
    ['auth/enable', {}],
  ] as const) {
    const outcome = await gateway.call(path, message);
    assert.equal(outcome.kind, 'answer', `${path}: ${JSON.stringify(outcome)}`);
  }
  gateway.close();
}
