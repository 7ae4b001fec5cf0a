/** Both ends over real sockets, with a replica whose content is memory. */

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';

import type { TcpAddress } from '../env/tcp-address.ts';
import { openCipher } from '../env/node/cipher.ts';
import { type EnvOptions, openEnv } from '../env/node/open-env.ts';
import { IoAsync } from '../env/io-async.ts';
import { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import { Answer, Request } from '../replication/messages.ts';
import type { HeadId, Record } from '../replication/record.ts';
import { Replica } from '../replication/replica.ts';
import type { Guard } from './guard.ts';
import { EXPORT_BYTES, type Guards, type Side, TICKET_BYTES, guardsOf, proofOf } from './keys.ts';
import { type Dialled, PeerLink } from './link.ts';
import { MemoryContent } from './memory-content.ts';
import { formatPrelude, hexOf } from './prelude.ts';
import { PeerServer } from './server.ts';
import { PeerTransport, transportBytes } from './transport.ts';
import type { EndCode } from './violation.ts';

const HEAD: HeadId = { engine: 'e0', start: 1, attempt: 1 };
const VOLUME_BYTES = 4 * 1024 * 1024;
const CONNECTIONS = 6;
const OWN_BYTES = 2 * 1024 * 1024;
const HANG = { timeout: 20_000 };

function record(epoch: number): Record {
  return {
    lineage: 1,
    epoch,
    writer: `w${epoch}`,
    head: HEAD,
    attachment: { attachId: 'a', boot: 'b' },
    members: new Map([['r0', 1]]),
    minimum: 1,
    sizeBytes: VOLUME_BYTES,
  };
}

/** A key that has done its work after more frames than a connection has to send at once. */
function soonSpent(guard: Guard): Guard {
  let count = 0;
  return {
    protect: (address, frameBytes) => {
      count += 1;
      guard.protect(address, frameBytes);
    },
    verify: () => false,
    get isSpent() {
      return count >= 200;
    },
    renew: () => {
      count = 0;
      return guard.renew();
    },
    close: () => guard.close(),
  };
}

type Kind = { readonly io: EnvOptions['io']; readonly sealed: boolean };

async function rig({ io: wanted, sealed }: Kind) {
  const memoryBytes = transportBytes(CONNECTIONS) + OWN_BYTES + 65_536;
  const env = openEnv({ io: wanted, memoryBytes });
  const { io } = env;
  const async = new IoAsync(io);
  const arena = new Arena(io.memory);
  const own = arena.reserve(OWN_BYTES, 4096);
  const transport = new PeerTransport(io, arena, CONNECTIONS);
  const checksum = checksumOf(io.memory);
  const cipher = sealed ? openCipher(io.memory, { by: 'auto' }) : undefined;
  const guards = (exported: Uint8Array, side: Side): Guards => {
    const { send, receive } = guardsOf(exported.slice(), side, { arena, checksum, cipher });
    return { send: sealed ? soonSpent(send) : send, receive };
  };
  const tickets = new Map<string, Uint8Array>();
  const ends: string[] = [];
  const answers: Answer[] = [];
  const events: string[] = [];
  const server = new PeerServer(transport, {
    admit: (ticket, proof) => {
      const exported = tickets.get(hexOf(ticket));
      if (exported === undefined || hexOf(proofOf(exported)) !== hexOf(proof)) return undefined;
      tickets.delete(hexOf(ticket));
      return { replica: 'r0', guards: guards(exported, 'accepting') };
    },
    onConnection: () => {},
    onEnd: (_replica, code) => ends.push(code),
  });
  const content = new MemoryContent(VOLUME_BYTES, arena, (token, errno) =>
    replica.onDone(token, errno),
  );
  const replica: Replica = new Replica('r0', {
    content,
    host: {
      now: () => io.nowUs() / 1000,
      answer: (connection, answer) => server.answer(connection, answer),
      dropped: (connection, token) => server.dropped(connection, token),
    },
  });
  server.add(replica);
  const { fd, port } = await env.files.listenTcp({ host: '127.0.0.1', port: 0 });
  server.listen(fd);
  const to: TcpAddress = { host: '127.0.0.1', port };
  /** A ticket as the control connection gives it. */
  const ticketed = (): Dialled => {
    const exported = new Uint8Array(crypto.randomBytes(EXPORT_BYTES));
    const ticket = new Uint8Array(crypto.randomBytes(TICKET_BYTES));
    tickets.set(hexOf(ticket), exported);
    const proof = proofOf(exported).slice();
    return { ticket, proof, to, guards: guards(exported, 'dialling') };
  };
  const link = new PeerLink('r0', transport, {
    dial: (_replica, onDone) => void async.sleep(1).then(() => onDone(ticketed())),
    onConnected: () => events.push('connected'),
    onUnreachable: (refused, code) => events.push(`${refused ? 'refused' : 'gone'} ${code}`),
    onAnswer: (answer) => answers.push(Object.assign(new Answer(), answer)),
  });
  let sequence = 0;
  let session = 0;
  const ask = (fields: Partial<Request>): void =>
    link.send(Object.assign(new Request(), { session, sequence: ++sequence }, fields));
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) {
      link.tick();
      server.tick();
      replica.tick();
      content.step();
      // The reactor waits for what is its own: a timer of Node would be late.
      await async.sleep(1);
    }
  };
  const open = async (epoch: number): Promise<void> => {
    session += 1;
    sequence = 0;
    const before = answers.length;
    link.send(
      Object.assign(new Request(), { kind: 'open', session, head: HEAD, record: record(epoch) }),
    );
    await until(() => answers.slice(before).some(({ kind }) => kind === 'open'));
  };
  const connected = async (): Promise<void> => {
    link.connect();
    await until(() => events.at(-1) === 'connected');
    await open(2);
  };
  return {
    io,
    arena,
    own,
    transport,
    server,
    content,
    link,
    to,
    ends,
    answers,
    events,
    ask,
    until,
    open,
    connected,
    ticketed,
    sleep: (ms: number) => async.sleep(ms),
  };
}
type Rig = Awaited<ReturnType<typeof rig>>;

async function run(kind: Kind, body: (rig: Rig) => Promise<void>): Promise<void> {
  const made = await rig(kind);
  const running = made.io.run();
  try {
    await Promise.race([body(made), running]);
  } finally {
    made.server.close();
    made.link.close();
    await made.sleep(2);
    made.io.stop();
  }
  await running;
}

const KINDS: readonly Kind[] = [
  { io: 'io_uring', sealed: true },
  { io: 'io_uring', sealed: false },
  { io: 'node', sealed: true },
];

for (const kind of KINDS) {
  const name = `${kind.io}, ${kind.sealed ? 'sealed' : 'in clear'}`;

  test(`${name}: a replica is used as if it were here`, HANG, () =>
    run(kind, async ({ connected, ask, until, answers, arena, own, content, ends }) => {
      await connected();
      assert.deepEqual(answers.at(-1)?.base, { lineage: 1, epoch: 2 });
      const data = crypto.randomBytes(262_144);
      arena.u8.set(data, own);
      ask({ kind: 'write', token: 2 ** 40, offsetBytes: 4097, lengthBytes: 5000, address: own });
      // Its bytes are its owner's again.
      arena.u8.fill(0, own, own + 5000);
      arena.u8.set(data, own);
      ask({ kind: 'write', token: 2, offsetBytes: 65_536, lengthBytes: 262_144, address: own });
      ask({ kind: 'durable', token: 3 });
      ask({ kind: 'renew', token: 4 });
      await until(() => answers.length === 4);
      arena.u8.fill(0, own, own + 262_144);
      assert.deepEqual(content.bytes.slice(4097, 9097), new Uint8Array(data.subarray(0, 5000)));
      ask({ kind: 'read', token: 5, offsetBytes: 65_536, lengthBytes: 262_144, address: own });
      ask({ kind: 'marks', token: 6 });
      ask({ kind: 'digest', token: 7, number: 8 });
      ask({ kind: 'survey', token: 8, number: 11 });
      ask({ kind: 'record', token: 9, epoch: 3, record: record(3) });
      ask({ kind: 'flush', token: 10 });
      await until(() => answers.length === 10);
      assert.deepEqual(arena.u8.slice(own, own + 262_144), new Uint8Array(data));
      const of = (token: number): Answer => answers.find((answer) => answer.token === token)!;
      assert.equal(of(2 ** 40).kind, 'write');
      assert.deepEqual(of(6).marks, [{ extent: 3, mask: 5 }]);
      assert.deepEqual(of(7).digest, { words: [8, 1, 2, 3], dataMask: 7, stamp: 9 });
      assert.deepEqual(of(8).survey, [{ extent: 11, stamp: 2, dataMask: 1 }]);
      assert.ok(answers.every((answer) => answer.replica === 'r0' && answer.life === 1));
      ask({ kind: 'release', token: 11 });
      await until(() => answers.length === 11);
      assert.deepEqual(ends, []);
    }),
  );

  test(`${name}: more requests than slots wait in their order, and all end`, HANG, () =>
    run(kind, async ({ connected, ask, until, answers, arena, own, content }) => {
      await connected();
      content.held = [];
      const count = 700;
      for (let i = 0; i < count; i += 1) {
        // Each overwrites a part of the one before it: the order shows in the bytes.
        const lengthBytes = i % 20 === 0 ? 200_000 : 4096;
        arena.u8.fill(1 + (i % 255), own, own + lengthBytes);
        ask({ kind: 'write', token: i, offsetBytes: i * 1000, lengthBytes, address: own });
      }
      await until(() => content.held!.length >= 16);
      content.release();
      await until(() => answers.length === count + 1);
      const expected = new Uint8Array(VOLUME_BYTES);
      for (let i = 0; i < count; i += 1) {
        expected.fill(1 + (i % 255), i * 1000, i * 1000 + (i % 20 === 0 ? 200_000 : 4096));
      }
      assert.equal(Buffer.compare(content.bytes, expected), 0);
    }),
  );
}

test('changes that end in one turn are answered by one frame, each with its kind', HANG, () =>
  run({ io: 'io_uring', sealed: false }, async (made) => {
    const { connected, ask, until, answers, own, content, io } = made;
    await connected();
    answers.length = 0;
    content.held = [];
    const kinds = ['write', 'trim', 'zero', 'write'] as const;
    for (const [token, kind] of kinds.entries()) {
      ask({ kind, token, offsetBytes: token * 4096, lengthBytes: 4096, address: own });
    }
    await until(() => content.held!.length === kinds.length);
    let sentBytes = 0;
    const trySend = io.trySend.bind(io);
    io.trySend = (...args) => {
      const sent = trySend(...args);
      sentBytes += sent;
      return sent;
    };
    content.release();
    await until(() => answers.length === kinds.length);
    assert.deepEqual(
      answers.map(({ token, kind, errno }) => [token, kind, errno]),
      kinds.map((kind, token) => [token, kind, 0]),
    );
    // A header, and three slots in what a body is padded to.
    assert.equal(sentBytes, 96 + 32);
  }),
);

test('a connection that ends gives its memory back when the drive has done with it', HANG, () =>
  run({ io: 'io_uring', sealed: true }, async (made) => {
    const { connected, ask, until, link, content, arena, own, answers, events } = made;
    await connected();
    content.held = [];
    arena.u8.fill(7, own, own + 8192);
    ask({ kind: 'write', token: 1, lengthBytes: 4096, address: own });
    ask({ kind: 'read', token: 2, offsetBytes: 4096, lengthBytes: 4096, address: own + 4096 });
    await until(() => content.held!.length === 2);
    const held = content.held;
    // More connections than there is memory for, had each kept its own.
    for (let round = 0; round < 2 * CONNECTIONS; round += 1) {
      content.held = undefined;
      link.connect();
      await until(() => events.length === round + 2);
      assert.equal(events.at(-1), 'connected');
    }
    for (const step of held) step();
    await made.open(3);
    assert.deepEqual(
      answers.filter(({ kind }) => kind !== 'open'),
      [],
    );
    // What was read for the old connection went nowhere.
    assert.equal(arena.u8[own + 4096], 7);
    assert.equal(content.bytes[0], 7);
  }),
);

test('a read of an older session on the same connection brings nothing', HANG, () =>
  run({ io: 'io_uring', sealed: false }, async (made) => {
    const { connected, ask, until, content, arena, own, answers, open, ends, sleep } = made;
    await connected();
    content.held = [];
    arena.u8.fill(7, own, own + 4096);
    ask({ kind: 'read', token: 1, lengthBytes: 4096, address: own });
    await until(() => content.held!.length === 1);
    // The session waits for it.
    void sleep(20).then(() => content.release());
    await open(3);
    ask({ kind: 'flush', token: 2 });
    await until(() => answers.some(({ kind }) => kind === 'flush'));
    assert.equal(arena.u8[own], 7);
    assert.ok(!answers.some(({ kind }) => kind === 'read'));
    assert.deepEqual(ends, []);
  }),
);

test('what no peer sends ends the connection by name, at both ends', HANG, () =>
  run({ io: 'io_uring', sealed: false }, async (made) => {
    const { connected, until, ends, events, transport, to, io, ticketed } = made;
    const stranger = async (bytes: Uint8Array): Promise<EndCode> => {
      const told = ends.length;
      let socket = -1;
      transport.connect(to, (fd) => (socket = fd));
      await until(() => socket >= 0);
      made.arena.u8.set(bytes, made.own);
      io.trySend(socket, Uint32Array.of(made.own, bytes.length), 0, 1);
      await until(() => ends.length > told);
      transport.closeSocket(socket);
      return ends.at(-1) as EndCode;
    };
    const known = ticketed();
    const wrongProof = formatPrelude({ ...known, proof: new Uint8Array(TICKET_BYTES) });
    assert.equal(await stranger(wrongProof), 'PEER_HELLO');
    const other = formatPrelude(known);
    other[7] = 0x32;
    assert.equal(await stranger(other), 'PEER_HELLO');
    const noise = new Uint8Array(200).fill(9);
    noise.set(formatPrelude(known));
    assert.equal(await stranger(noise), 'PEER_FRAME');
    // A ticket is used once.
    assert.equal(await stranger(formatPrelude(known)), 'PEER_HELLO');
    await connected();
    made.ask({ kind: 'read', token: 1, lengthBytes: 300_000, address: made.own });
    await until(() => events.length === 2);
    assert.deepEqual([events.at(-1), ends.at(-1)], ['gone PEER_FIELD', 'PEER_FIELD']);
  }),
);

test('nobody there is refused; a server that closes is gone', HANG, () =>
  run({ io: 'io_uring', sealed: true }, async ({ connected, until, server, link, events }) => {
    await connected();
    server.close();
    await until(() => events.length === 2);
    assert.equal(events.at(-1), 'gone PEER_CLOSING');
    link.connect();
    await until(() => events.length === 3);
    assert.equal(events.at(-1), 'refused PEER_RESET');
  }),
);

test(
  'what waits beyond its limit ends the connection, and not within the call that asks',
  HANG,
  () =>
    run(
      { io: 'io_uring', sealed: false },
      async ({ connected, ask, until, content, events, own }) => {
        await connected();
        content.held = [];
        const big = { kind: 'write', lengthBytes: 262_144, address: own } as const;
        for (let token = 1; token <= 160; token += 1) ask({ ...big, token });
        assert.deepEqual(events, ['connected']);
        await until(() => events.length === 2);
        assert.equal(events.at(-1), 'gone PEER_FULL');
        content.release();
      },
    ),
);
