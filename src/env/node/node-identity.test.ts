import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';

import { Refusal } from '../../model/errors.ts';
import { nodeFileOf, readNode, readNodeIdentity, tlsFilesOf } from './node-identity.ts';

const { authority, otherAuthority, nodes } = JSON.parse(
  fs.readFileSync(new URL('testdata/cluster-certificates.json', import.meta.url), 'utf8'),
) as {
  readonly authority: string;
  readonly otherAuthority: string;
  readonly nodes: Readonly<
    Record<'n1' | 'n2', { readonly certificate: string; readonly key: string }>
  >;
};

const N1 = { version: 1, cluster: 'c1', node: 'n1', peer: { host: '127.0.0.1', port: 7171 } };

function installation(t: TestContext, node: unknown = N1): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'h-node-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  fs.writeFileSync(nodeFileOf(directory), JSON.stringify(node));
  fs.mkdirSync(path.join(directory, 'tls'));
  const files = tlsFilesOf(directory);
  fs.writeFileSync(files.authority, authority);
  fs.writeFileSync(files.certificate, nodes.n1.certificate);
  fs.writeFileSync(files.key, nodes.n1.key);
  return directory;
}

const refuses = (work: () => unknown, problem: RegExp): void =>
  assert.throws(work, (error) => {
    assert.ok(error instanceof Refusal && error.code === 'NODE_INVALID');
    assert.match(error.message, problem);
    return true;
  });

test('a node is read with its labels; without node.json there is none', (t) => {
  const directory = installation(t, { ...N1, labels: { zone: 'a' } });
  const node = readNode(directory);
  assert.deepEqual(node, {
    cluster: 'c1',
    node: 'n1',
    labels: { region: '', zone: 'a', rack: '' },
    peer: { host: '127.0.0.1', port: 7171, sealed: true },
  });
  assert.deepEqual(readNodeIdentity(directory, node), { cluster: 'c1', authority, ...nodes.n1 });
  assert.equal(readNode(path.join(directory, 'tls')), undefined);
});

test('a node.json that says something else is refused, by what is wrong with it', (t) => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [{ ...N1, version: 2 }, /version 2/],
    [{ ...N1, zone: 'a' }, /"zone" is nothing/],
    [{ ...N1, labels: { zoen: 'a' } }, /"zoen" is nothing/],
    [{ ...N1, labels: { zone: 1 } }, /label is a text/],
    [{ ...N1, cluster: 'C1' }, /"cluster" is/],
    [{ ...N1, node: 'n'.repeat(65) }, /"node" is/],
    [{ ...N1, peer: { host: 'localhost', port: 7171 } }, /"peer" is/],
    [{ ...N1, peer: { host: '::1', port: 0 } }, /"peer" is/],
    [{ ...N1, peer: undefined }, /"peer" is/],
    [{ ...N1, peer: { ...N1.peer, sealed: 'no' } }, /"sealed" is/],
    [null, /version undefined/],
  ];
  for (const [node, problem] of cases) refuses(() => readNode(installation(t, node)), problem);
  const torn = installation(t);
  fs.truncateSync(nodeFileOf(torn), 10);
  refuses(() => readNode(torn), /node\.json": .*JSON/);
});

test('a certificate or key that other nodes would refuse is refused, by name', (t) => {
  const breaks: readonly (readonly [keyof ReturnType<typeof tlsFilesOf>, string, RegExp])[] = [
    ['authority', otherAuthority, /node\.pem": .*ca\.pem" is not the authority/],
    ['certificate', nodes.n2.certificate, /it is for URI:holdfast:\/\/c1\/node\/n2/],
    ['key', nodes.n2.key, /node\.key": it is not the key/],
    ['certificate', 'nothing', /node\.pem"/],
  ];
  for (const [name, text, problem] of breaks) {
    const directory = installation(t);
    fs.writeFileSync(tlsFilesOf(directory)[name], text);
    refuses(() => readNodeIdentity(directory, readNode(directory)!), problem);
  }
  const directory = installation(t);
  fs.rmSync(tlsFilesOf(directory).key);
  refuses(() => readNodeIdentity(directory, readNode(directory)!), /node\.key": ENOENT/);
});
