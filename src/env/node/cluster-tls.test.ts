import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test, type TestContext } from 'node:test';
import tls from 'node:tls';

import {
  type ClusterConnection,
  type NodeIdentity,
  dialNode,
  exportKeys,
  listenForNodes,
} from './cluster-tls.ts';

type Fixture = {
  readonly authority: string;
  readonly otherAuthority: string;
  readonly nodes: Readonly<Record<string, { readonly certificate: string; readonly key: string }>>;
};
/** Valid for a hundred years, and known to everybody: for tests only. */
const FIXTURE = JSON.parse(
  fs.readFileSync(new URL('testdata/cluster-certificates.json', import.meta.url), 'utf8'),
) as Fixture;

function identity(name: string, authority: string = FIXTURE.authority): NodeIdentity {
  return { cluster: 'c1', authority, ...FIXTURE.nodes[name]! };
}

async function listening(t: TestContext, as: NodeIdentity = identity('n1')) {
  const accepted: ClusterConnection[] = [];
  const refused: string[] = [];
  const listener = await listenForNodes(
    as,
    { host: '127.0.0.1', port: 0 },
    {
      onConnection: (connection) => {
        connection.socket.on('error', () => {});
        accepted.push(connection);
      },
      onRefused: (reason) => refused.push(reason),
    },
  );
  t.after(() => {
    for (const { socket } of accepted) socket.destroy();
    listener.close();
  });
  return { address: { host: '127.0.0.1', port: listener.port }, accepted, refused };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('both ends know each other, and export the same keys for one label and context alone', async (t) => {
  const { address, accepted } = await listening(t);
  const dialled = await dialNode(identity('n2'), address, 'n1');
  t.after(() => dialled.socket.destroy());
  await until(() => accepted.length === 1);
  const [met] = accepted as [ClusterConnection];
  assert.deepEqual([met.node, dialled.node], ['n2', 'n1']);
  assert.equal(dialled.socket.getProtocol(), 'TLSv1.3');
  const of = (connection: ClusterConnection, context: number): Uint8Array =>
    exportKeys(connection, 96, { label: 'EXPORTER-test', context: new Uint8Array([context]) });
  assert.equal(of(met, 1).length, 96);
  assert.deepEqual(of(met, 1), of(dialled, 1));
  assert.notDeepEqual(of(met, 1), of(dialled, 2));
});

test('who is no node of this cluster is refused, by name', async (t) => {
  const { address, accepted, refused } = await listening(t);
  for (const name of ['foreign', 'two', 'dns', 'forged']) {
    const told = refused.length;
    // In TLS 1.3 the dialling end is done before it is judged.
    const dialled = await dialNode(identity(name), address, 'n1').catch(() => undefined);
    dialled?.socket.on('error', () => {});
    await until(() => refused.length > told);
    dialled?.socket.destroy();
  }
  assert.match(refused[0]!, /holdfast:\/\/c2\/node\/n1/);
  const nobody = tls.connect({
    ...address,
    ca: FIXTURE.authority,
    checkServerIdentity: () => undefined,
  });
  nobody.on('error', () => {});
  await until(() => refused.length === 5);
  const old = tls.connect({
    ...address,
    ca: FIXTURE.authority,
    cert: FIXTURE.nodes['n2']!.certificate,
    key: FIXTURE.nodes['n2']!.key,
    checkServerIdentity: () => undefined,
    maxVersion: 'TLSv1.2',
  });
  old.on('error', () => {});
  await until(() => refused.length === 6);
  assert.deepEqual(accepted, []);
});

test('a node that is not the one that was dialled is refused, as is one of another authority', async (t) => {
  const { address } = await listening(t);
  await assert.rejects(dialNode(identity('n2'), address, 'n2'), /wanted node "n2": .*node\/n1/);
  await assert.rejects(dialNode(identity('n2', FIXTURE.otherAuthority), address, 'n1'));
  const foreign = await listening(t, identity('foreign'));
  await assert.rejects(dialNode(identity('n2'), foreign.address, 'n1'), /c2\/node\/n1/);
});
