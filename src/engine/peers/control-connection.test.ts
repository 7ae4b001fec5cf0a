/** Both ends of control connections, over TLS. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { type TestContext, test } from 'node:test';

import { type NodeIdentity, dialNode, listenForNodes } from '../../env/node/cluster-tls.ts';
import { hexOf } from '../../peer/prelude.ts';
import { proofOf } from '../../peer/keys.ts';
import { Tickets } from '../../peer/tickets.ts';
import { AcceptedNode } from './accepted-node.ts';
import { DialledNode, type Granted, type NotGranted } from './dialled-node.ts';

const FIXTURE = JSON.parse(
  fs.readFileSync(
    new URL('../../env/node/testdata/cluster-certificates.json', import.meta.url),
    'utf8',
  ),
) as {
  readonly authority: string;
  readonly nodes: Readonly<Record<string, { readonly certificate: string; readonly key: string }>>;
};

const identity = (name: string): NodeIdentity => ({
  cluster: 'c1',
  authority: FIXTURE.authority,
  ...FIXTURE.nodes[name]!,
});

/** n1 accepts, n2 dials. */
async function rig(t: TestContext) {
  let nowMs = 0;
  const tickets = new Tickets({
    clock: { bootMs: () => nowMs },
    random: { below: () => 0, bytes: (length) => new Uint8Array(randomBytes(length)) },
  });
  const listed = new Set(['n2']);
  const replicas = new Set(['r0']);
  const accepted: AcceptedNode[] = [];
  const refused: string[] = [];
  const problems: string[] = [];
  const listener = await listenForNodes(
    identity('n1'),
    { host: '127.0.0.1', port: 0 },
    {
      onConnection: (connection) =>
        accepted.push(
          new AcceptedNode(connection, {
            node: 'n1',
            engine: 'e1',
            tickets,
            dataPort: 7,
            mustSeal: true,
            isListed: (node) => listed.has(node),
            hasReplica: (replica) => replicas.has(replica),
            onRefused: (problem) => refused.push(problem),
            onClosed: () => {},
          }),
        ),
      onRefused: (problem) => refused.push(problem),
    },
  );
  const address = { host: '127.0.0.1', port: listener.port };
  const dialling = (node = 'n1', own = 'n2'): DialledNode => {
    const dialled = new DialledNode(node, address, {
      node: own,
      engine: 'e2',
      identity: identity('n2'),
      nowMs: () => nowMs,
      yieldTurn: () => {},
      onReached: () => problems.push('none'),
      onProblem: (problem) => problems.push(problem),
    });
    t.after(() => dialled.close());
    return dialled;
  };
  t.after(() => {
    for (const each of accepted) each.close();
    listener.close();
  });
  const close = (): void => {
    listener.close();
    for (const each of accepted) each.close();
  };
  const later = (ms: number): number => (nowMs += ms);
  return {
    address,
    tickets,
    listed,
    replicas,
    accepted,
    refused,
    problems,
    dialling,
    close,
    later,
  };
}

function asked(dialled: DialledNode, replica = 'r0', sealed = true): Promise<Granted | NotGranted> {
  return new Promise((onDone) => dialled.ask({ replica, sealed, onDone }));
}

test('a ticket has keys that both ends know, and is of one connection for many', async (t) => {
  const { tickets, accepted, dialling } = await rig(t);
  const dialled = dialling();
  const all = await Promise.all(Array.from({ length: 40 }, () => asked(dialled)));
  assert.equal(accepted.length, 1);
  for (const each of all) {
    assert.ok(typeof each === 'object');
    assert.equal(each.to.port, 7);
    const grant = tickets.take(each.ticket, proofOf(each.exported));
    assert.deepEqual([grant?.replica, grant?.sealed], ['r0', true]);
    assert.deepEqual(grant?.exported, each.exported);
  }
  assert.equal(new Set(all.map((each) => hexOf((each as Granted).ticket))).size, 40);
});

test('what may not be had is refused by name', async (t) => {
  const { dialling, problems, listed } = await rig(t);
  assert.equal(await asked(dialling(), 'r1'), 'refused');
  assert.match(problems.at(-1)!, /PEER_NO_REPLICA/);
  assert.equal(await asked(dialling(), 'r0', false), 'seal');
  assert.equal(await asked(dialling('n1', 'n3')), 'silent');
  assert.match(problems.at(-1)!, /PEER_IDENTITY/);
  assert.equal(await asked(dialling('n9')), 'silent');
  assert.match(problems.at(-1)!, /wanted node "n9"/);
  const dialled = dialling();
  assert.equal(typeof (await asked(dialled)), 'object');
  listed.clear();
  assert.equal(await asked(dialled), 'silent');
  assert.match(problems.at(-1)!, /PEER_IDENTITY/);
});

test('a connection that ends is made anew for what was asked; where nobody is left it is refused', async (t) => {
  const { accepted, dialling, close, problems } = await rig(t);
  const dialled = dialling();
  await asked(dialled);
  accepted[0]?.close();
  assert.equal(typeof (await asked(dialled)), 'object');
  assert.equal(accepted.length, 2);
  assert.deepEqual(problems, ['none', 'none']);
  close();
  assert.equal(await asked(dialled), 'refused');
});

test('an engine that hangs keeps who asks for a second', async (t) => {
  const { dialling, later } = await rig(t);
  const dialled = dialling();
  const asking = asked(dialled);
  later(999);
  dialled.tick();
  later(1);
  dialled.tick();
  assert.equal(await asking, 'silent');
  assert.equal(typeof (await asked(dialled)), 'object');
});

test('what does not keep to the protocol ends the connection', async (t) => {
  const { address, refused } = await rig(t);
  const ended = async (...lines: readonly string[]): Promise<string> => {
    const { socket } = await dialNode(identity('n2'), address, 'n1');
    socket.on('error', () => {});
    socket.resume();
    const told = refused.length;
    socket.write(lines.map((line) => `${line}\n`).join(''));
    await new Promise((resolve) => socket.once('close', resolve));
    assert.equal(refused.length, told + 1);
    return refused.at(-1)!;
  };
  const hello = '{"id":0,"call":"hello","args":{"versions":[1,2],"node":"n2","engine":"e"}}';
  const ticket = '{"id":1,"call":"ticket","args":{"replica":"r0","sealed":true}}';
  assert.match(await ended('nothing'), /one JSON object/);
  assert.match(await ended(ticket), /the first call is "hello"/);
  assert.match(await ended(hello, '{"id":1,"call":"ticket"}'), /"replica" is a string/);
  assert.match(await ended(hello, '{"id":1,"call":"other"}'), /no call "other"/);
  assert.match(await ended('x'.repeat(70_000)), /too long/);
  assert.match(await ended(hello, ...Array.from({ length: 16 }, () => ticket)), /more than 16/);
});

test('an engine of another version is refused by name', async (t) => {
  const { address, refused } = await rig(t);
  const { socket } = await dialNode(identity('n2'), address, 'n1');
  socket.write('{"id":0,"call":"hello","args":{"versions":[9],"node":"n2","engine":"e"}}\n');
  const answer = await new Promise<string>((resolve) =>
    socket.once('data', (bytes) => resolve(String(bytes))),
  );
  assert.match(answer, /"PEER_VERSION".*"asked":\[9\],"spoken":\[1\]/);
  assert.equal(refused.length, 1);
  socket.destroy();
});
