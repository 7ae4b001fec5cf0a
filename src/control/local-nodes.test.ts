import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';

import { nodeFileOf, readNode, readNodeIdentity } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import { isInstallation } from './installation.ts';
import { nodeDirectoryOf, readLocalCluster } from './local-cluster.ts';
import { makeLocalNodes } from './local-nodes.ts';
import { sqliteFileOf } from './open-store.ts';

function empty(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'h-cluster-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

const refuses = (work: () => unknown, problem: RegExp): Promise<void> =>
  assert.rejects(
    async () => work(),
    (error) => {
      assert.ok(error instanceof Refusal && error.code === 'CLUSTER_INVALID');
      assert.match(error.message, problem);
      return true;
    },
  );

test('nodes are made once, each with a zone, a port and an identity of its own', async (t) => {
  const directory = empty(t);
  assert.equal(readLocalCluster(directory), undefined);
  const cluster = await makeLocalNodes(directory, 3);
  assert.deepEqual(cluster.nodes, ['a', 'b', 'c']);
  assert.deepEqual(readLocalCluster(directory), cluster);
  const nodes = cluster.nodes.map((name) => {
    const at = nodeDirectoryOf(cluster, name);
    const node = readNode(at);
    assert.ok(node !== undefined && isInstallation(at));
    assert.deepEqual([node.cluster, node.node, node.labels.zone], [cluster.id, name, name]);
    assert.equal(readNodeIdentity(at, node).cluster, cluster.id);
    for (const file of fs.readdirSync(at, { recursive: true, encoding: 'utf8' })) {
      const { mode } = fs.statSync(path.join(at, file));
      assert.equal(mode & 0o077, 0, file);
    }
    return node;
  });
  assert.equal(new Set(nodes.map(({ peer }) => peer.port)).size, 3);
  const more = await makeLocalNodes(directory, 4);
  assert.deepEqual(more, { ...cluster, nodes: ['a', 'b', 'c', 'd'] });
  const again = more.nodes.map((name) => readNode(nodeDirectoryOf(more, name)));
  assert.deepEqual(again.slice(0, 3), nodes, 'those that are there stay as they are');
  await refuses(() => makeLocalNodes(directory, 2), /it has 4 nodes .*node drain d/);
});

test('what an interrupted call left undone is made by the next one', async (t) => {
  const directory = empty(t);
  const cluster = await makeLocalNodes(directory, 2);
  fs.rmSync(nodeFileOf(nodeDirectoryOf(cluster, 'b')));
  assert.deepEqual(await makeLocalNodes(directory, 2), cluster);
  const b = nodeDirectoryOf(cluster, 'b');
  const node = readNode(b);
  assert.ok(node !== undefined && readNodeIdentity(b, node));
});

test('a copy becomes a cluster of its own, with its own records; what was moved stays what it is', async (t) => {
  const directory = path.join(empty(t), 'original');
  fs.mkdirSync(directory);
  const cluster = await makeLocalNodes(directory, 2);
  const copied = path.join(path.dirname(directory), 'copied');
  fs.cpSync(directory, copied, { recursive: true });
  const copy = await makeLocalNodes(copied, 2);
  assert.deepEqual(copy.nodes, cluster.nodes);
  assert.notEqual(copy.id, cluster.id);
  for (const name of copy.nodes) {
    const [at, from] = [nodeDirectoryOf(copy, name), nodeDirectoryOf(cluster, name)];
    const [node, original] = [readNode(at), readNode(from)];
    assert.ok(node !== undefined && original !== undefined);
    assert.notEqual(node.peer.port, original.peer.port);
    assert.notEqual(
      readNodeIdentity(at, node).authority,
      readNodeIdentity(from, original).authority,
    );
    assert.equal(sqliteFileOf(at), path.join(copied, 'state.db'));
  }
  const moved = path.join(path.dirname(directory), 'moved');
  fs.renameSync(directory, moved);
  assert.deepEqual(await makeLocalNodes(moved, 2), { ...cluster, directory: moved });
  assert.equal(sqliteFileOf(path.join(moved, 'nodes', 'a')), path.join(moved, 'state.db'));
});

test('without the key of the authority there are no more nodes, and those that are there stay', async (t) => {
  const directory = empty(t);
  const cluster = await makeLocalNodes(directory, 1);
  fs.rmSync(path.join(directory, 'tls', 'ca.key'));
  await refuses(() => makeLocalNodes(directory, 2), /ca\.key" is gone/);
  assert.deepEqual(readLocalCluster(directory), cluster);
  assert.deepEqual(await makeLocalNodes(directory, 1), cluster);
});

test('a cluster.json that says something else is refused', async (t) => {
  const directory = empty(t);
  for (const [text, problem] of [
    ['{"version":2}', /version 2/],
    ['{"version":1,"cluster":"C"}', /"cluster" is/],
    ['{"version":1,"cluster":"c","nodes":["/a"]}', /"nodes" is/],
    ['{', /JSON/],
  ] as const) {
    fs.writeFileSync(path.join(directory, 'cluster.json'), text);
    await refuses(() => readLocalCluster(directory), problem);
  }
});
