import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { test } from 'node:test';

import {
  type ClusterConnection,
  type NodeIdentity,
  dialNode,
  listenForNodes,
} from '../env/node/cluster-tls.ts';
import { type Certified, newAuthority, newNodeCertificate } from './cluster-authority.ts';

const identityOf = (authority: Certified, cluster: string, node: string): NodeIdentity => ({
  cluster,
  authority: authority.certificate,
  ...newNodeCertificate(authority, { cluster, node }),
});

test("a node's certificate is its authority's, for its key, in its name, and for ever", () => {
  const long = 'c'.repeat(64);
  for (let round = 0; round < 20; round++) {
    const authority = newAuthority(long);
    const ca = new X509Certificate(authority.certificate);
    assert.ok(ca.ca && ca.verify(ca.publicKey) && ca.checkIssued(ca));
    const issued = newNodeCertificate(authority, { cluster: long, node: 'n'.repeat(64) });
    const node = new X509Certificate(issued.certificate);
    assert.ok(!node.ca && node.checkIssued(ca) && node.verify(ca.publicKey));
    assert.ok(node.checkPrivateKey(createPrivateKey(issued.key)));
    assert.equal(node.subjectAltName, `URI:holdfast://${long}/node/${'n'.repeat(64)}`);
    assert.deepEqual(node.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.deepEqual(
      [node.validFromDate.getTime(), node.validToDate.toISOString()],
      [0, '9999-12-31T23:59:59.000Z'],
    );
    assert.match(node.serialNumber, /^[4-7][0-9A-F]{31}$/);
  }
});

test('nodes of one authority meet, and one of another of the same name is refused', async (t) => {
  const authority = newAuthority('c1');
  const told = Promise.withResolvers<string>();
  const met = Promise.withResolvers<ClusterConnection>();
  const listener = await listenForNodes(
    identityOf(authority, 'c1', 'a'),
    { host: '127.0.0.1', port: 0 },
    { onConnection: met.resolve, onRefused: told.resolve },
  );
  t.after(() => listener.close());
  const dial = (as: NodeIdentity): Promise<ClusterConnection | undefined> =>
    dialNode(as, { host: '127.0.0.1', port: listener.port }, 'a').catch(() => undefined);
  const own = await dial(identityOf(authority, 'c1', 'b'));
  assert.equal((await met.promise).node, 'b');
  const strange = await dial({
    ...identityOf(newAuthority('c1'), 'c1', 'b'),
    authority: authority.certificate,
  });
  for (const socket of [own?.socket, strange?.socket, (await met.promise).socket]) {
    socket?.on('error', () => undefined);
  }
  await told.promise;
  for (const socket of [own?.socket, strange?.socket]) socket?.destroy();
});
