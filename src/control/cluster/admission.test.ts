import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import { Refusal } from '../../model/errors.ts';
import { newAuthority, newKey } from '../cluster-authority.ts';
import { type JoinRequest, signedRequest } from '../join-protocol.ts';
import type { ControlParts } from '../parts.ts';
import { keepIdentity } from '../node-files.ts';
import { keepStore } from '../store-handout.ts';
import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { Admission } from './admission.ts';
import { FalseTokens } from './false-tokens.ts';
import { JoinTokens, joinTokenId } from './join-tokens.ts';

const DAY_MS = 24 * 3_600_000;
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-admission-'));
after(() => fs.rmSync(directory, { recursive: true }));
const authority = newAuthority('c1');
keepIdentity(directory, { authority: authority.certificate, ...authority });
keepStore(directory, {
  settings: {
    version: 1,
    endpoints: ['https://10.0.0.9:2379'],
    caFile: 'tls/store-ca.pem',
    owner: 'c1',
  },
  files: { 'tls/store-ca.pem': 'whom etcd trusts' },
});

/** Node a of cluster c1, which takes joins, at a time that the test sets. */
async function setUp() {
  const { records } = memoryRecords();
  const clock = { nowMs: 0 };
  let ids = 0;
  const parts = {
    records,
    installation: { directory },
    wallMs: () => clock.nowMs,
    newId: () => `id-${ids++}`,
    log: () => undefined,
  } as unknown as ControlParts;
  const labels = { region: '', zone: '', rack: '' };
  const peer = { host: '10.0.0.1', port: 7171 };
  const identity = { cluster: 'c1', node: 'a', labels, peer: { ...peer, sealed: true } };
  const join = { host: '10.0.0.1', port: 7172 };
  const a = { name: 'a', labels, peer, join, engine: { instance: 'x', start: 1 } };
  await records.change({
    puts: [
      { key: 'node/a', record: a },
      { key: 'alive/a', record: { node: 'a', bootId: '' } },
    ],
  });
  const tokens = new JoinTokens(parts, identity);
  const falseTokens = new FalseTokens(() => clock.nowMs);
  const admission = new Admission(parts, { identity, authority, falseTokens });
  return { records, clock, tokens, admission };
}

let secrets = 0;
/** A request of a machine with a token of its own. */
async function requestFor(tokens: JoinTokens, node: string, key = newKey()): Promise<JoinRequest> {
  const secret = `secret ${secrets++}`;
  await tokens.make(joinTokenId(secret));
  return requestWith(secret, node, key);
}

function requestWith(secret: string, node: string, key = newKey()): JoinRequest {
  const labels = { region: '', zone: node, rack: '' };
  return signedRequest({ secret, node, labels, host: '10.0.0.2', port: 7171 }, key);
}

const isRefused = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof Refusal && error.code === code, String(error));
  assert.match(error.message, words);
  return true;
};

test('a machine with a token becomes a node; the first three have the key of the authority', async () => {
  const { records, tokens, admission } = await setUp();
  const keys: boolean[] = [];
  for (const name of ['b', 'c', 'd']) {
    const request = await requestFor(tokens, name);
    const answer = await admission.admit(request, '10.0.0.2');
    const certificate = new X509Certificate(answer.certificate);
    assert.equal(certificate.subjectAltName, `URI:holdfast://c1/node/${name}`);
    assert.ok(certificate.verify(new X509Certificate(answer.authority).publicKey));
    assert.equal(
      certificate.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      request.publicKey,
    );
    assert.deepEqual(answer.store.files, { 'tls/store-ca.pem': 'whom etcd trusts' });
    keys.push(answer.authorityKey === authority.key);
  }
  assert.deepEqual(keys, [true, true, false]);
  const nodes = await records.nodes();
  assert.deepEqual(
    nodes.map(({ name, join, labels }) => [name, join?.port, labels.zone]),
    [
      ['a', 7172, ''],
      ['b', 7172, 'b'],
      ['c', 7172, 'c'],
      ['d', undefined, 'd'],
    ],
  );
  const listed = await tokens.list();
  assert.deepEqual(listed.map(({ state, node }) => `${state} ${node}`).toSorted(), [
    'used b',
    'used c',
    'used d',
  ]);
  assert.ok(!JSON.stringify(await records.joins()).includes('secret'));
});

test('the same request gets the same node again; another key or name does not', async () => {
  const { records, tokens, admission } = await setUp();
  const key = newKey();
  const request = await requestFor(tokens, 'b', key);
  await admission.admit(request, 'x');
  const again = await admission.admit(request, 'x');
  assert.equal(again.authorityKey, authority.key);
  assert.equal((await records.nodes()).length, 2);
  const used = isRefused('JOIN_REFUSED', /its token was used, by node "b"/);
  await assert.rejects(admission.admit(requestWith(request.secret, 'b'), 'x'), used);
  await assert.rejects(admission.admit(requestWith(request.secret, 'c', key), 'x'), used);
  await records.change({ deletes: ['node/b'] });
  const gone = isRefused('JOIN_REFUSED', /taken out of the cluster/);
  await assert.rejects(admission.admit(request, 'x'), gone);
});

test('a token that ended or was revoked, a name that is taken, and a false signature are refused', async () => {
  const { records, clock, tokens, admission } = await setUp();
  const late = await requestFor(tokens, 'b');
  clock.nowMs = DAY_MS + 1;
  assert.equal((await tokens.list())[0]?.state, 'ended');
  const ended = isRefused('JOIN_REFUSED', /its token ended at 1970-01-02T00:00:00/);
  await assert.rejects(admission.admit(late, 'x'), ended);
  const revoked = await requestFor(tokens, 'b');
  assert.equal(await tokens.revoke(joinTokenId(revoked.secret)), true);
  assert.equal(await tokens.revoke(joinTokenId(revoked.secret)), false);
  const unknown = isRefused('JOIN_REFUSED', /none of this cluster, or was revoked/);
  await assert.rejects(admission.admit(revoked, 'x'), unknown);
  const taken = await requestFor(tokens, 'a');
  await assert.rejects(admission.admit(taken, 'x'), isRefused('NODE_EXISTS', /"a"/));
  const request = await requestFor(tokens, 'b');
  const others = [
    null,
    { ...request, version: 2 },
    { ...request, node: 'c' },
    { ...request, host: '0.0.0.0' },
    { ...request, port: 65_535 },
    { ...request, labels: { zone: 'a' } },
    { ...request, publicKey: requestWith('', 'b').publicKey },
    { ...request, signature: '' },
  ];
  for (const other of others) {
    await assert.rejects(admission.admit(other, 'x'), isRefused('INPUT_INVALID', /./));
  }
  assert.equal((await records.nodes()).length, 1);
  clock.nowMs = 4 * DAY_MS;
  await requestFor(tokens, 'b');
  assert.equal((await tokens.list()).length, 1, 'what ended long ago is forgotten');
});

test('in the place of a node that is down another one gets the key', async () => {
  const { records, tokens, admission } = await setUp();
  for (const name of ['b', 'c']) await admission.admit(await requestFor(tokens, name), 'x');
  await records.change({ deletes: ['alive/a'] });
  const { authorityKey } = await admission.admit(await requestFor(tokens, 'd'), 'x');
  assert.equal(authorityKey, authority.key);
  const answer = await admission.admit(await requestFor(tokens, 'e'), 'x');
  assert.equal(answer.authorityKey, undefined);
});

test('two machines at once never make a fourth node with the key', async () => {
  const { records, tokens, admission } = await setUp();
  const names = ['b', 'c', 'd', 'e'];
  const requests = await Promise.all(names.map((name) => requestFor(tokens, name)));
  await Promise.all(requests.map((request) => admission.admit(request, 'x')));
  const nodes = await records.nodes();
  assert.equal(nodes.length, 5);
  assert.equal(nodes.filter(({ join }) => join !== undefined).length, 3);
});

test('an address that sent many false tokens waits a minute, and others do not', async () => {
  const { clock, tokens, admission } = await setUp();
  const falseOne = requestWith('guess', 'b');
  for (let tries = 0; tries < 10; tries++) {
    await assert.rejects(admission.admit(falseOne, 'x'), isRefused('JOIN_REFUSED', /none of/));
  }
  const request = await requestFor(tokens, 'b');
  await assert.rejects(admission.admit(request, 'x'), isRefused('JOIN_LIMITED', /from x/));
  await admission.admit(request, 'y');
  clock.nowMs += 60_000;
  await admission.admit(request, 'x');
});

test('nobody joins a single machine, or a cluster whose key is nowhere', async () => {
  const { records, tokens } = await setUp();
  const alone = new JoinTokens({ records } as unknown as ControlParts, undefined);
  await assert.rejects(alone.make('0'), isRefused('JOIN_NOT_TAKEN', /single machine/));
  await records.change({ deletes: ['node/a'] });
  await assert.rejects(tokens.make('0'), isRefused('JOIN_NOT_TAKEN', /no node of this cluster/));
});
