import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

import {
  authorityHash,
  newAuthority,
  newNodeCertificate,
  nodeCertificate,
  readAuthority,
} from '../control/cluster-authority.ts';
import { JoinServer } from '../control/cluster/join-server.ts';
import type { JoinAnswer, JoinRequest } from '../control/join-protocol.ts';
import { readNode, readNodeIdentity } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import { freePort } from '../../test/rigs/etcd-process.ts';
import { joinCluster } from './join-cluster.ts';

const top = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-join-'));
after(() => fs.rmSync(top, { recursive: true }));

const authority = newAuthority('c1');
const peer = { host: '127.0.0.1', port: 7171 };
const wish = { node: 'b', labels: { region: '', zone: 'east', rack: '' }, peer };

/** A server of node a, of `ca`, that answers with `admit`; and what was logged. */
async function serve(ca: typeof authority, admit: (request: JoinRequest) => Promise<JoinAnswer>) {
  const address = { host: '127.0.0.1', port: await freePort() };
  const logged: string[] = [];
  const server = new JoinServer({
    admission: { admit: (request) => admit(request as JoinRequest) },
    identity: () => ({
      cluster: 'c1',
      authority: ca.certificate,
      ...newNodeCertificate(ca, { cluster: 'c1', node: 'a' }),
    }),
    address,
    log: (event, details) => logged.push(`${event} ${JSON.stringify(details)}`),
  });
  await server.start();
  after(() => server.stop());
  const token = {
    cluster: 'c1',
    authority: authorityHash(authority.certificate),
    secret: '5'.repeat(64),
    addresses: [`127.0.0.1:${address.port}`],
  };
  return { token, logged };
}

function answerFor({ node, publicKey }: JoinRequest): JoinAnswer {
  const name = { cluster: 'c1', node };
  return {
    version: 1,
    cluster: 'c1',
    authority: authority.certificate,
    certificate: nodeCertificate(authority, name, createPublicKey(publicKey)),
    authorityKey: authority.key,
    store: {
      settings: { version: 1, endpoints: ['https://127.0.0.1:1'], owner: 'c1' },
      files: { 'tls/store-ca.pem': 'ca', '../outside': 'nobody asked for it' },
    },
  };
}

const isRefused = (code: string, words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof Refusal && error.code === code, String(error));
  assert.match(error.message, words);
  return true;
};

test('a machine that was interrupted goes on with the key that it had, and asks the next address', async () => {
  const directory = path.join(top, 'b');
  const seen: JoinRequest[] = [];
  let isDown = true;
  const { token, logged } = await serve(authority, async (request) => {
    seen.push(request);
    if (isDown) throw new Refusal('JOIN_REFUSED', { node: request.node, problem: 'not now' });
    return answerFor(request);
  });
  const addresses = [`127.0.0.1:${await freePort()}`, ...token.addresses];
  await assert.rejects(joinCluster(directory, { ...token, addresses }, wish), /not now/);
  assert.equal(readNode(directory), undefined);
  isDown = false;
  await joinCluster(directory, { ...token, addresses }, wish);
  const node = readNode(directory);
  assert.deepEqual(node, { cluster: 'c1', ...wish, peer: { ...peer, sealed: true } });
  assert.ok(node !== undefined && readNodeIdentity(directory, node).key.includes('PRIVATE KEY'));
  assert.equal(seen[0]?.publicKey, seen[1]?.publicKey);
  assert.ok(!JSON.stringify(seen).includes('PRIVATE KEY'));
  assert.equal(readAuthority(directory)?.key, authority.key);
  const modes = fs.readdirSync(path.join(directory, 'tls')).map((name) => {
    return (fs.statSync(path.join(directory, 'tls', name)).mode & 0o777).toString(8);
  });
  assert.deepEqual(new Set(modes), new Set(['600']));
  assert.ok(!fs.existsSync(path.join(top, 'outside')));
  assert.match(logged.join('\n'), /join.refused.*JOIN_REFUSED/);
  assert.ok(!logged.join('\n').includes(token.secret), 'no secret in the log');
  await joinCluster(directory, token, wish);
  assert.equal(seen.length, 2, 'a node that is made asks nobody');
  await assert.rejects(
    joinCluster(directory, token, { ...wish, node: 'c' }),
    isRefused('CLUSTER_INVALID', /it is node "b" of cluster c1 already/),
  );
});

test('a server of another authority of the same name gets no secret', async () => {
  const { token } = await serve(newAuthority('c1'), () => assert.fail('it was asked'));
  await assert.rejects(
    joinCluster(path.join(top, 'x'), token, wish),
    isRefused('JOIN_UNREACHABLE', /not of the cluster of this token/),
  );
});

test('nobody there, and a server that answers something else, are told of', async () => {
  const { token } = await serve(authority, () => Promise.resolve({} as JoinAnswer));
  const nobody = { ...token, addresses: [`127.0.0.1:${await freePort()}`] };
  await assert.rejects(
    joinCluster(path.join(top, 'y'), nobody, wish),
    isRefused('JOIN_UNREACHABLE', /ECONNREFUSED/),
  );
  await assert.rejects(
    joinCluster(path.join(top, 'z'), token, wish),
    isRefused('JOIN_UNREACHABLE', /no answer to a join/),
  );
  assert.equal(readNode(path.join(top, 'z')), undefined);
});
