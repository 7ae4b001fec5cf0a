/**
 * What a message between engines costs: writes and reads from a head's link in one process to a replica in another, over TCP on
 * loopback, whose content is memory and does everything at once. One line each: rate, and CPU of either process for a message.
 *
 *     node bench/peer.ts [--seconds 2] [--depth 32] [--bytes 4096] [--io io_uring|node]
 */

import { type ChildProcess, fork } from 'node:child_process';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { openCipher } from '../src/env/node/cipher.ts';
import { type NodeEnv, openEnv } from '../src/env/node/open-env.ts';
import { IoAsync } from '../src/env/io-async.ts';
import { Arena } from '../src/lib/arena.ts';
import { checksumOf } from '../src/lib/checksum.ts';
import { EXPORT_BYTES, type Side, TICKET_BYTES, guardsOf, proofOf } from '../src/peer/keys.ts';
import { PeerLink } from '../src/peer/link.ts';
import { PeerServer } from '../src/peer/server.ts';
import { PeerTransport, transportBytes } from '../src/peer/transport.ts';
import { Request } from '../src/replication/messages.ts';
import type { Record } from '../src/replication/record.ts';
import { Replica, type ReplicaContent } from '../src/replication/replica.ts';

const OWN_BYTES = 1024 * 1024;
/** The same at both ends, in place of what a control connection exports. */
const EXPORTED: Uint8Array = new Uint8Array(EXPORT_BYTES).map((_, index) => index);
const TICKET = new Uint8Array(TICKET_BYTES);
const HEAD = { engine: 'e0', start: 1, attempt: 1 };
const RECORD: Record = {
  lineage: 1,
  epoch: 1,
  writer: 'w1',
  head: HEAD,
  attachment: undefined,
  members: new Map([['r0', 1]]),
  minimum: 1,
  sizeBytes: 2 ** 30,
};

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    depth: { type: 'string', default: '32' },
    bytes: { type: 'string', default: '4096' },
    io: { type: 'string', default: 'io_uring' },
    // Of the processes that it starts.
    role: { type: 'string' },
    frames: { type: 'string' },
  },
});

/** `onTurnEnd` comes before what the turn has to send is sent. */
function openPeer(sealed: boolean, onTurnEnd: () => void) {
  const io = values.io === 'node' ? 'node' : 'io_uring';
  const env: NodeEnv = openEnv({ io, memoryBytes: transportBytes(1) + OWN_BYTES + 65_536 });
  env.io.onTurnEnd(onTurnEnd);
  const arena = new Arena(env.io.memory);
  const own = arena.reserve(OWN_BYTES, 4096);
  const cipher = sealed ? openCipher(env.io.memory, { by: 'auto' }) : undefined;
  const checksum = checksumOf(env.io.memory);
  const guards = (side: Side) => guardsOf(EXPORTED.slice(), side, { arena, checksum, cipher });
  return { env, own, transport: new PeerTransport(env.io, arena, 1), guards };
}

function cpuUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** The process of the replica: tells its port, and its CPU when it is asked. */
async function serve(sealed: boolean): Promise<void> {
  const done: number[] = [];
  const later = (token: number): void => void done.push(token);
  const { env, transport, guards } = openPeer(sealed, () => {
    for (const token of done.splice(0)) replica.onDone(token, 0);
  });
  const content: ReplicaContent = {
    life: 1,
    state: { seen: undefined, base: undefined },
    read: later,
    change: later,
    flush: later,
    keep: later,
    stamp: later,
    digest: later,
    dropMarks() {},
    marks: () => [],
    survey: () => [],
  };
  const server = new PeerServer(transport, {
    admit: () => ({ replica: 'r0', guards: guards('accepting') }),
    onConnection: () => {},
    onEnd: () => process.exit(),
  });
  const replica: Replica = new Replica('r0', {
    content,
    host: {
      now: () => env.io.nowUs() / 1000,
      answer: (connection, answer) => server.answer(connection, answer),
      dropped: (connection, token) => server.dropped(connection, token),
    },
  });
  server.add(replica);
  process.on('message', () => process.send?.(cpuUs()));
  const { fd, port } = await env.files.listenTcp({ host: '127.0.0.1', port: 0 });
  server.listen(fd);
  process.send?.(port);
  await env.io.run();
}

function start({ role, frames }: { readonly role: string; readonly frames: string }): ChildProcess {
  const args = [...process.argv.slice(2), `--role=${role}`, `--frames=${frames}`];
  return fork(process.argv[1]!, args);
}

/** A head's link to the replica at `port`, with its session open. `load.request` is sent again with each answer. */
async function openHead(port: number, sealed: boolean) {
  const { env, own, transport, guards } = openPeer(sealed, () => {});
  const { io } = env;
  const load = { request: new Request(), count: 0 };
  Object.assign(load.request, { session: 1, epoch: 1, address: own });
  load.request.lengthBytes = Number(values.bytes);
  let sequence = 0;
  let onOpened: (() => void) | undefined;
  const send = (): void => {
    load.request.sequence = ++sequence;
    load.request.offsetBytes = (sequence % 1024) * load.request.lengthBytes;
    link.send(load.request);
  };
  const link: PeerLink = new PeerLink('r0', transport, {
    dial: (_replica, onDone) => {
      const to = { host: '127.0.0.1', port };
      const proof = proofOf(EXPORTED);
      setImmediate(() => onDone({ ticket: TICKET, proof, to, guards: guards('dialling') }));
    },
    onConnected: () =>
      link.send(
        Object.assign(new Request(), { kind: 'open', session: 1, head: HEAD, record: RECORD }),
      ),
    onUnreachable: (_refused, code) => {
      throw new Error(`the replica is gone: ${code}`);
    },
    onAnswer: ({ kind }) => {
      if (kind !== 'open') {
        load.count += 1;
        send();
        return;
      }
      onOpened?.();
      io.yieldTurn();
    },
  });
  const running = io.run();
  await new Promise<void>((resolve) => {
    onOpened = resolve;
    link.connect();
  });
  return { io, running, load, send };
}

async function measure(sealed: boolean): Promise<void> {
  const child = start({ role: 'replica', frames: sealed ? 'sealed' : 'clear' });
  const told = (): Promise<number> =>
    new Promise((resolve) => {
      child.once('message', (number) => resolve(Number(number)));
    });
  const { io, running, load, send } = await openHead(await told(), sealed);
  const async = new IoAsync(io);
  const theirCpuUs = (): Promise<number> => {
    child.send('cpu');
    return told();
  };
  for (const kind of ['write', 'read'] as const) {
    load.request.kind = kind;
    if (load.count === 0) for (let i = 0; i < Number(values.depth); i += 1) send();
    await async.sleep(500);
    const theirs = await theirCpuUs();
    const [before, ours, startedUs] = [load.count, cpuUs(), io.nowUs()];
    await async.sleep(Number(values.seconds) * 1000);
    const [messages, elapsedUs] = [load.count - before, io.nowUs() - startedUs];
    const cost = {
      ours: (cpuUs() - ours) / messages,
      theirs: ((await theirCpuUs()) - theirs) / messages,
    };
    const name = `${kind} of ${values.bytes} bytes, ${sealed ? 'sealed' : 'in clear'}`;
    const rate = Math.round((messages / elapsedUs) * 1e6);
    const cpu = `CPU ${cost.ours.toFixed(1)} µs at the head, ${cost.theirs.toFixed(1)} µs at the replica`;
    process.stdout.write(`${name}: ${rate}/s, ${cpu}\n`);
  }
  child.kill();
  io.stop();
  await running;
}

const sealed = values.frames === 'sealed';
if (values.role === 'replica') await serve(sealed);
else if (values.role === 'head') {
  await measure(sealed);
  process.exit();
} else {
  // One reactor runs in a process: each measurement has one of its own.
  for (const frames of ['clear', 'sealed']) {
    const head = start({ role: 'head', frames });
    await new Promise((resolve) => head.once('exit', resolve));
  }
}
