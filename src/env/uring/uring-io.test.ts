/** Edges of the rings: too many entries, too many completions, other set-up flags. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';

import { COMPLIANCE_MEMORY_BYTES, ioCompliance } from '../io-compliance.ts';
import type { MakeTrialSetup } from '../io-trial.ts';
import { openFfi } from '../ffi.ts';
import { realSetups, ringsProblem } from '../node/trial-setup.ts';
import { listenTcp } from './listen.ts';
import { IPPROTO_TCP, TCP_NODELAY } from './operations.ts';
import { FLAG_SETS, type RingOptions } from './ring.ts';
import { openTestedUringIo } from './self-test.ts';
import { type UringIo, openUringIo } from './uring-io.ts';
import { openSyscalls } from './syscalls.ts';

const TINY = { entries: 8, completionEntries: 16 };

/** Setups whose Io has the given ring. */
function setups(ring: RingOptions): MakeTrialSetup {
  const base = realSetups({ io: 'io_uring', memoryBytes: COMPLIANCE_MEMORY_BYTES });
  return async () => {
    const setup = await base();
    const { io } = openTestedUringIo({ memoryBytes: COMPLIANCE_MEMORY_BYTES, ring });
    return { ...setup, env: { ...setup.env, io } };
  };
}

suite('io_uring with other rings', { skip: ringsProblem() }, () => {
  ioCompliance('io_uring with a tiny ring', setups(TINY));
  for (const flags of FLAG_SETS.slice(1)) {
    ioCompliance(`io_uring with flags 0x${flags.toString(16)}`, setups({ ...TINY, flags }));
  }
});

suite('the rings', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-'));
  after(() => fs.rmSync(folder, { recursive: true }));

  test('an overflowing completion ring loses nothing', () => {
    const file = path.join(folder, 'file');
    fs.writeFileSync(file, new Uint8Array(4096));
    const fd = fs.openSync(file, 'r');
    const io = openUringIo({ memoryBytes: 65_536, ring: TINY });
    const seen = new Uint8Array(1000);
    let turns = 0;
    const port = io.port((index, result) => {
      assert.equal(result, 16);
      seen[index]! += 1;
    });
    // Each is complete when the kernel has consumed it: 1000 completions meet a ring of 16.
    for (let i = 0; i < 1000; i += 1) {
      io.read(port, i, fd, 0, 16 * i, 16);
      if (i % 3 === 0) io.submit();
    }
    for (; turns < 1000 && seen.some((count) => count === 0); turns += 1) io.turn(true);
    io.turn(false);
    assert.ok(
      seen.every((count) => count === 1),
      'each completed once',
    );
    fs.closeSync(fd);
  });

  test('entries refused for a while are submitted later', () => {
    const right = openSyscalls();
    let refusals = 0;
    const system = {
      ...right,
      enter: (...values: Parameters<typeof right.enter>): number => {
        // Every other call is refused, with EAGAIN or EBUSY in turn.
        refusals += 1;
        return refusals % 2 === 0 ? -1 : right.enter(...values);
      },
      errno: () => (refusals % 4 === 0 ? 11 : 16),
    };
    const io = openUringIo({ memoryBytes: 65_536, ring: TINY, system });
    const seen: number[] = [];
    const port = io.port((index, result) => {
      assert.equal(result, 0);
      seen.push(index);
    });
    for (let i = 0; i < 100; i += 1) io.timer(port, i, 1);
    turnUntil(io, () => seen.length === 100);
    assert.equal(new Set(seen).size, 100);
  });

  test('TCP waits for nothing more to send, on either side', () => {
    const getsockopt = openFfi().func<
      (fd: number, level: number, name: number, value: Uint8Array, length: Uint32Array) => number
    >(
      'int getsockopt(int fd, int level, int name, _Out_ uint8_t *value, _Inout_ uint32_t *length)',
    );
    const io = openUringIo({ memoryBytes: 65_536 });
    const { fd, port } = listenTcp(openSyscalls(), { host: '127.0.0.1', port: 0 });
    const sockets: number[] = [];
    const completions = io.port((_index, result) => sockets.push(result));
    io.accept(completions, 0, fd);
    io.connect(completions, 1, { host: '127.0.0.1', port });
    turnUntil(io, () => sockets.length === 2);
    for (const socket of sockets) {
      const value = new Uint8Array(4);
      assert.equal(getsockopt(socket, IPPROTO_TCP, TCP_NODELAY, value, Uint32Array.of(4)), 0);
      assert.equal(value[0], 1);
    }
    for (const socket of [...sockets, fd]) fs.closeSync(socket);
  });

  test('ranges outside the arena never reach the kernel', () => {
    const io = openUringIo({ memoryBytes: 65_536 });
    const port = io.port(() => {});
    const outside = Uint32Array.of(65_530, 16);
    for (const submit of [
      () => io.read(port, 0, 0, 0, 65_530, 16),
      () => io.read(port, 0, 0, 0, -16, 16),
      () => io.read(port, 0, 0, 0, Number.NaN, 16),
      () => io.write(port, 0, 0, 0, 65_530, 16),
      () => io.write(port, 0, 0, 0, 16, -1),
      () => io.receive(port, 0, 0, 65_530, 16),
      () => io.writev(port, 0, 0, 0, outside, 0, 1),
      () => io.send(port, 0, 0, outside, 0, 1),
      () => io.trySend(0, outside, 0, 1),
      () => io.trySend(0, Uint32Array.of(0, 1, 65_530, 16), 0, 2),
      () => io.writev(port, 0, 0, 0, outside, 0, 257),
      () => io.writev(port, 0, 0, 0, outside, 0, 0),
    ]) {
      assert.throws(submit, { name: 'Bug' });
    }
  });
});

function turnUntil(io: UringIo, done: () => boolean): void {
  const deadlineUs = io.nowUs() + 10_000_000;
  while (!done()) {
    io.turn(false);
    assert.ok(io.nowUs() < deadlineUs, 'it ends');
  }
}
