/** The self-test must catch what it is there for: each wrong signature or layout here is a broken build. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { suite, test } from 'node:test';

import { openTestedUringIo } from './self-test.ts';
import { RingRefused } from './ring.ts';
import { type Syscalls, openSyscalls } from './syscalls.ts';

const MEMORY_BYTES = 65_536;
/** Issue's bar for the start-up self-test. Measured: some 5 ms once compiled. */
const SELF_TEST_MS_MAX = 100;

const right = openSyscalls();
/** Entry words are at 4 x their number; tampering happens where entries are handed over. */
const tampered = (change: (sqe: Uint32Array) => void): Partial<Syscalls> => {
  const entries: Uint32Array[] = [];
  return {
    mapRing: (fd, lengthBytes, offset) => {
      const mapping = right.mapRing(fd, lengthBytes, offset);
      if (offset !== 0) entries.push(new Uint32Array(mapping.buffer));
      return mapping;
    },
    enter: (...values) => {
      for (const sqe of entries) change(sqe);
      return right.enter(...values);
    },
  };
};

const CANARIES: readonly (readonly [string, Partial<Syscalls>])[] = [
  ['a type of another size', { sizeof: (type) => (type === 'long' ? 4 : right.sizeof(type)) }],
  ['an arena address a page off', { address: (buffer) => right.address(buffer) - 4096 }],
  ['an arena address a byte off', { address: (buffer) => right.address(buffer) + 1 }],
  [
    'send with its last two arguments exchanged',
    { send: (fd, address, length, flags) => right.send(fd, address, flags, length) },
  ],
  ['sendmsg that sends nothing', { sendmsg: () => 0 }],
  ['errno that is always EPERM', { errno: () => 1 }],
  [
    'a scratch memory address a word off',
    {
      mapAnonymous: (lengthBytes) => {
        const { address, buffer } = right.mapAnonymous(lengthBytes);
        return { address: address + 4, buffer };
      },
    },
  ],
  ['positions without their high word', tampered((sqe) => zeroWords(sqe, 3))],
  ['positions in the wrong word', tampered((sqe) => swapWords(sqe, 2, 3))],
  ['user data without its high word', tampered((sqe) => zeroWords(sqe, 9))],
  ['another descriptor of the event loop', { backendFd: () => 1 }],
  ['a socket pair given back the wrong way', { socketpair: () => 0 }],
  ['setsockopt that sets nothing', { setsockopt: () => 0 }],
  ['getsockname that names nothing', { getsockname: () => 0 }],
];

suite('self-test', () => {
  test('passes on this machine, in time', () => {
    openTestedUringIo({ memoryBytes: MEMORY_BYTES });
    const started = performance.now();
    const before = fs.readdirSync('/proc/self/fd').length;
    const { io } = openTestedUringIo({ memoryBytes: MEMORY_BYTES });
    const elapsedMs = performance.now() - started;
    assert.ok(elapsedMs < SELF_TEST_MS_MAX, `${elapsedMs} ms`);
    // The ring's own descriptor stays.
    assert.equal(fs.readdirSync('/proc/self/fd').length, before + 1);
    assert.ok(new Uint8Array(io.memory.buffer).every((byte) => byte === 0));
  });

  test('the arena stays out of forked children', () => {
    const { io } = openTestedUringIo({ memoryBytes: MEMORY_BYTES });
    const start = right.address(io.memory.buffer).toString(16);
    const maps = fs.readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const arena = maps.find((map) => map.startsWith(`${start}-`));
    assert.match(arena ?? '', /^VmFlags:.* dc/m);
  });

  for (const [name, wrong] of CANARIES) {
    test(`catches ${name}`, () => {
      const system = { ...right, ...wrong };
      assert.throws(() => openTestedUringIo({ memoryBytes: MEMORY_BYTES, system }), RingRefused);
    });
  }

  test('is refused by name where the kernel has no io_uring', () => {
    const system = { ...right, setup: () => -1, errno: () => 38 };
    assert.throws(opening(system), { name: 'RingRefused', message: /refused: ENOSYS/ });
  });

  test('is refused by name where the kernel lacks a feature or an operation', () => {
    const tooOld = {
      ...right,
      setup: (entries: number, params: ArrayBuffer) => {
        const fd = right.setup(entries, params);
        // IORING_FEAT_SUBMIT_STABLE gone.
        new Uint32Array(params)[5]! &= ~4;
        return fd;
      },
    };
    assert.throws(opening(tooOld), { name: 'RingRefused', message: /lacks features 0x4/ });
    const noReceive = {
      ...right,
      register: (fd: number, opcode: number, argument: ArrayBuffer, count: number) => {
        const result = right.register(fd, opcode, argument, count);
        new Uint16Array(argument)[(16 + 8 * 27) / 2 + 1] = 0;
        return result;
      },
    };
    assert.throws(opening(noReceive), { name: 'RingRefused', message: /lacks operations 27/ });
  });
});

function opening(system: Syscalls): () => unknown {
  return () => openTestedUringIo({ memoryBytes: MEMORY_BYTES, system });
}

function zeroWords(sqe: Uint32Array, word: number): void {
  for (let at = word; at < sqe.length; at += 16) sqe[at] = 0;
}

function swapWords(sqe: Uint32Array, a: number, b: number): void {
  for (let at = 0; at < sqe.length; at += 16) {
    [sqe[at + a], sqe[at + b]] = [sqe[at + b]!, sqe[at + a]!];
  }
}
