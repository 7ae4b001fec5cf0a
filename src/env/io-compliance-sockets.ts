/** The part of {@link import('./io-compliance.ts').ioCompliance} that is about sockets. */

import assert from 'node:assert/strict';

import {
  EADDRINUSE,
  EADDRNOTAVAIL,
  EAFNOSUPPORT,
  EAGAIN,
  EBADF,
  ECANCELED,
  ECONNREFUSED,
  ECONNRESET,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  EPIPE,
  ErrnoError,
} from '../model/errno.ts';
import {
  type Check,
  type SocketFamily,
  type Trial,
  checkPattern,
  fillPattern,
} from './io-trial.ts';

const CHUNK = 65_536;
const STREAM_BYTES = 4_194_304;
/** More than any socket buffer holds. */
const FILL_BYTES_MAX = 67_108_864;

/** Declares the tests with `check`. */
export function socketCompliance(check: Check): void {
  for (const family of ['unix', 'tcp'] as const) {
    const checkFamily: Check = (title, body) => check(`${family}: ${title}`, body);
    connectionCompliance(checkFamily, family);
    streamCompliance(checkFamily, family);
    fullSocketCompliance(checkFamily, family);
    closedSocketCompliance(checkFamily, family);
  }
  addressCompliance(check);
}

function connectionCompliance(check: Check, family: SocketFamily): void {
  check('a connection carries bytes both ways and ends', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    trial.bytes.set([1, 2, 3, 4, 5], 100);
    const received = receiveExactly(trial, server, 200, 5);
    assert.equal(await trial.send(client, 100, 5), 5);
    await received;
    assert.deepEqual([...trial.bytes.subarray(200, 206)], [1, 2, 3, 4, 5, 0]);
    assert.equal(trial.io.trySend(server, Uint32Array.of(0, 0, 201, 2, 200, 1), 1, 2), 3);
    await receiveExactly(trial, client, 300, 3);
    assert.deepEqual([...trial.bytes.subarray(300, 304)], [2, 3, 1, 0]);
    assert.equal(await trial.close(client), 0);
    assert.equal(await trial.receive(server, 200, 50), 0);
    assert.equal(await trial.receive(server, 200, 50), 0);
    assert.equal(await trial.close(server), 0);
    assert.equal(await trial.close(listener), 0);
  });

  check('several clients wait for one listener', async (trial) => {
    const { listener, address } = await trial.listen(family);
    const clients = await Promise.all(Array.from({ length: 8 }, () => trial.connect(address)));
    const servers = new Set<number>();
    for (const client of clients) {
      assert.ok(client >= 0);
      servers.add(await trial.accept(listener));
    }
    assert.equal(servers.size, 8);
    for (const fd of [...clients, ...servers, listener]) assert.equal(await trial.close(fd), 0);
  });
}

function addressCompliance(check: Check): void {
  check('connecting to nobody fails', async (trial) => {
    assert.equal(await trial.connect(trial.path('nobody')), -ENOENT);
    assert.equal(await trial.connect(trial.path('x'.repeat(120))), -ENAMETOOLONG);
    const file = await trial.env.files.open(trial.path('a-file'), { create: true });
    assert.equal(await trial.connect(trial.path('a-file')), -ECONNREFUSED);
    assert.equal(await trial.close(file.fd), 0);
    const { listener, address } = await trial.listen('tcp');
    assert.equal(await trial.close(listener), 0);
    assert.equal(await trial.connect(address), -ECONNREFUSED);
    assert.equal(await trial.connect({ host: 'localhost', port: 80 }), -EINVAL);
  });

  check('a port has one listener, and is free again after it', async (trial) => {
    const { files } = trial.env;
    const { fd, port } = await files.listenTcp({ host: '127.0.0.1', port: 0 });
    assert.ok(port > 0);
    const again = { host: '127.0.0.1', port };
    await assert.rejects(files.listenTcp(again), (error) => isErrno(error, EADDRINUSE));
    await assert.rejects(files.listenTcp({ host: 'localhost', port: 0 }), (error) =>
      isErrno(error, EINVAL),
    );
    const [server, client] = await Promise.all([trial.accept(fd), trial.connect(again)]);
    for (const each of [fd, server, client]) assert.equal(await trial.close(each), 0);
    const next = await files.listenTcp(again);
    assert.equal(next.port, port);
    assert.equal(await trial.close(next.fd), 0);
  });

  check('IPv6 is another address', async (trial) => {
    const listening = trial.env.files.listenTcp({ host: '::1', port: 0 });
    const listener = await listening.catch((error: unknown) => {
      // Machines without IPv6.
      assert.ok(isErrno(error, EADDRNOTAVAIL) || isErrno(error, EAFNOSUPPORT), String(error));
    });
    if (listener === undefined) return;
    const { fd, port } = listener;
    const [server, client] = await Promise.all([
      trial.accept(fd),
      trial.connect({ host: '0:0::1', port }),
    ]);
    for (const each of [fd, server, client]) assert.equal(await trial.close(each), 0);
  });
}

function isErrno(error: unknown, errno: number): boolean {
  return error instanceof ErrnoError && error.errno === errno;
}

/** Receives until so many bytes have come: a receive may give fewer than are there. */
async function receiveExactly(
  trial: Trial,
  socket: number,
  address: number,
  lengthBytes: number,
): Promise<void> {
  for (let received = 0; received < lengthBytes;) {
    const count = await trial.receive(socket, address + received, 50);
    assert.ok(count >= 1 && count <= lengthBytes - received, `receive gives ${count}`);
    received += count;
  }
}

function streamCompliance(check: Check, family: SocketFamily): void {
  check('a long stream arrives whole and in order', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    const target = STREAM_BYTES;
    fillPattern(trial.bytes.subarray(0, STREAM_BYTES), 1);
    const sending = sendAll(trial, client, 0, STREAM_BYTES);
    let received = 0;
    while (received < STREAM_BYTES) {
      const want = Math.min(CHUNK - 1, STREAM_BYTES - received);
      const count = await trial.receive(server, target + received, want);
      assert.ok(count >= 1 && count <= want, `receive gives ${count}`);
      received += count;
    }
    await sending;
    checkPattern(trial.bytes.subarray(target, target + STREAM_BYTES), 1, 'stream');
    for (const fd of [client, server, listener]) assert.equal(await trial.close(fd), 0);
  });

  check('bytes that were taken survive the close', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    fillPattern(trial.bytes.subarray(0, 3000), 2);
    assert.equal(trial.io.trySend(client, Uint32Array.of(0, 1000, 1000, 1000), 0, 2), 2000);
    // The bytes of a trySend are free at once.
    trial.bytes.fill(0, 0, 2000);
    assert.equal(await trial.send(client, 2000, 1000), 1000);
    assert.equal(await trial.close(client), 0);
    let received = 0;
    for (;;) {
      const count = await trial.receive(server, 8000 + received, 10_000);
      if (count === 0) break;
      assert.ok(count > 0, `receive gives ${count}`);
      received += count;
    }
    assert.equal(received, 3000);
    checkPattern(trial.bytes.subarray(8000, 11_000), 2, 'bytes');
    for (const fd of [server, listener]) assert.equal(await trial.close(fd), 0);
  });
}

async function sendAll(
  trial: Trial,
  socket: number,
  address: number,
  lengthBytes: number,
): Promise<void> {
  let sent = 0;
  while (sent < lengthBytes) {
    const rest = lengthBytes - sent;
    const half = Math.ceil(rest / 2);
    const segments = Uint32Array.of(address + sent, half, address + sent + half, rest - half);
    const count = await trial.do((port, index) => {
      trial.io.send(port, index, socket, segments, 0, rest === half ? 1 : 2);
      segments.fill(0);
    });
    assert.ok(count >= 1 && count <= rest, `send gives ${count}`);
    sent += count;
  }
}

/** Sends until the socket takes no more, also after a while in which TCP moved what it took; returns the bytes taken. */
async function fill(trial: Trial, socket: number): Promise<number> {
  const segments = Uint32Array.of(0, CHUNK);
  let taken = 0;
  for (let before = -1; taken < FILL_BYTES_MAX;) {
    const count = trial.io.trySend(socket, segments, 0, 1);
    if (count === -EAGAIN) {
      if (taken === before) return taken;
      before = taken;
      await trial.sleep(10);
      continue;
    }
    assert.ok(count >= 1 && count <= CHUNK, `trySend gives ${count}`);
    taken += count;
  }
  assert.fail('a socket takes more than 64 MiB');
}

function fullSocketCompliance(check: Check, family: SocketFamily): void {
  check('trySend never waits; send waits for the peer', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    const taken = await fill(trial, client);
    assert.ok(taken > 0);
    let sent = false;
    const sending = trial.send(client, 0, CHUNK).then((count) => {
      sent = true;
      return count;
    });
    assert.equal(await trial.sleep(20), 0);
    assert.equal(sent, false, 'a full socket takes nothing');
    let received = 0;
    while (received < taken + (sent ? await sending : 1)) {
      const count = await trial.receive(server, CHUNK, CHUNK);
      assert.ok(count >= 1, `receive gives ${count}`);
      received += count;
    }
    assert.ok((await sending) >= 1);
    for (const fd of [client, server, listener]) assert.equal(await trial.close(fd), 0);
  });

  check('sending to a peer that left is EPIPE or ECONNRESET, not a signal', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    assert.equal(await trial.close(server), 0);
    // Node hears of it a moment later: its first send may still be taken.
    let result = 0;
    for (let tries = 0; tries < 50 && !gone(result); tries += 1) {
      result = await trial.send(client, 0, 100);
      await trial.sleep(1);
    }
    assert.ok(gone(result), `send gives ${result}`);
    const tried = trial.io.trySend(client, Uint32Array.of(0, 100), 0, 1);
    assert.ok(gone(tried), `trySend gives ${tried}`);
    for (const fd of [client, listener]) assert.equal(await trial.close(fd), 0);
  });
}

function gone(result: number): boolean {
  return result === -EPIPE || result === -ECONNRESET;
}

function closedSocketCompliance(check: Check, family: SocketFamily): void {
  check('close ends a receive, an accept and a send in flight', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    const receiving = trial.receive(client, 0, 100);
    const accepting = trial.accept(listener);
    await fill(trial, client);
    const sending = trial.send(client, 0, CHUNK);
    assert.equal(await trial.sleep(5), 0);
    const order: string[] = [];
    const note = async (what: string, result: Promise<number>): Promise<number> => {
      const value = await result;
      order.push(what);
      return value;
    };
    assert.deepEqual(
      await Promise.all([
        note('accept', accepting),
        note('accept closed', trial.close(listener)),
        note('receive', receiving),
        note('send', sending),
        note('client closed', trial.close(client)),
      ]),
      [-ECANCELED, 0, -ECANCELED, -ECANCELED, 0],
    );
    assert.ok(order.indexOf('accept') < order.indexOf('accept closed'), 'accept ends first');
    assert.ok(order.indexOf('receive') < order.indexOf('client closed'), 'receive ends first');
    assert.ok(order.indexOf('send') < order.indexOf('client closed'), 'send ends first');
    assert.equal(await trial.close(server), 0);
    assert.equal(await trial.close(server), -EBADF);
  });

  check('no completion of a closed socket reaches its successor', async (trial) => {
    const { listener, client, server, address } = await trial.connection(family);
    let [near, far] = [client, server];
    for (let round = 0; round < 50; round += 1) {
      const receiving = trial.receive(near, 0, 100);
      const closing = trial.close(near);
      assert.equal(await receiving, -ECANCELED);
      assert.equal(await closing, 0);
      assert.equal(await trial.receive(far, 0, 100), 0);
      assert.equal(await trial.close(far), 0);
      [far, near] = await Promise.all([trial.accept(listener), trial.connect(address)]);
      trial.bytes[500] = round;
      assert.equal(await trial.send(far, 500, 1), 1);
      assert.equal(await trial.receive(near, 600, 100), 1);
      assert.equal(trial.bytes[600], round);
    }
    for (const fd of [near, far, listener]) assert.equal(await trial.close(fd), 0);
  });

  check('operations on a closed socket are EBADF', async (trial) => {
    const { listener, client, server } = await trial.connection(family);
    assert.equal(await trial.close(client), 0);
    assert.equal(await trial.close(listener), 0);
    // Nothing was opened since, so the numbers are free.
    assert.equal(await trial.receive(client, 0, 10), -EBADF);
    assert.equal(await trial.send(client, 0, 10), -EBADF);
    assert.equal(await trial.accept(listener), -EBADF);
    assert.equal(trial.io.trySend(client, Uint32Array.of(0, 1), 0, 1), -EBADF);
    assert.equal(await trial.close(server), 0);
  });
}
