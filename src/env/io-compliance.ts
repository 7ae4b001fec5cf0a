/**
 * What every maker of `env.io` must do, rule by rule of env/io.ts. Looped over io_uring, Node's calls and the simulator
 * (io-compliance.test.ts of src/env/uring, src/env/node and sim), each with all parts: memory, files, depth, timers, turns, close, sockets.
 */

import assert from 'node:assert/strict';
import { suite } from 'node:test';

import { EBADF, ECANCELED } from '../model/errno.ts';
import { socketCompliance } from './io-compliance-sockets.ts';
import {
  type Check,
  type MakeTrialSetup,
  type Trial,
  checkPattern,
  checksWith,
  fillPattern,
} from './io-trial.ts';
import { SEGMENT_COUNT_MAX } from './io.ts';

/** Bytes of arena that the suites use: `makeSetup` gives an Env with at least as much. */
export const COMPLIANCE_MEMORY_BYTES = 16_777_216;

const BLOCK = 4096;
const FAR: readonly number[] = [0, 2 ** 31 - BLOCK, 2 ** 31, 2 ** 32 - BLOCK, 2 ** 32 + BLOCK];
const DEPTH = 512;
/** Four times the entries of the io_uring maker's ring, in one turn. */
const FLOOD = 4096;

/** Declares the suite. `makeSetup` is called once for each test. */
export function ioCompliance(name: string, makeSetup: MakeTrialSetup): void {
  const check = checksWith(makeSetup);
  suite(`env.io: ${name}`, () => {
    memoryCompliance(check);
    fileCompliance(check);
    depthCompliance(check);
    timerCompliance(check);
    turnCompliance(check);
    closeCompliance(check);
    socketCompliance(check);
  });
}

/** Makes a file of `sizeBytes`, sparse, and opens it. */
async function makeFile(trial: Trial, name: string, sizeBytes: number): Promise<number> {
  const { fd } = await trial.env.files.open(trial.path(name), { create: true });
  await trial.env.files.allocate(fd, { sizeBytes, sparse: true });
  return fd;
}

function memoryCompliance(check: Check): void {
  check('the arena cannot grow', async (trial) => {
    assert.ok(trial.bytes.length >= COMPLIANCE_MEMORY_BYTES);
    assert.throws(() => trial.io.memory.grow(1));
    await trial.sleep(1);
  });

  check('an address range outside the arena throws', async (trial) => {
    const { io, bytes } = trial;
    const fd = await makeFile(trial, 'outside', BLOCK);
    const sockets = await trial.connection('unix');
    const port = io.port(() => assert.fail('nothing was started'));
    const end = bytes.length;
    for (const [address, lengthBytes] of [
      [end, 1],
      [end - 1, 2],
      [0, end + 1],
    ] as const) {
      const segments = Uint32Array.of(0, 1, address, lengthBytes);
      assert.throws(() => io.read(port, 1, fd, 0, address, lengthBytes));
      assert.throws(() => io.write(port, 1, fd, 0, address, lengthBytes));
      assert.throws(() => io.writev(port, 1, fd, 0, segments, 0, 2));
      assert.throws(() => io.receive(port, 1, sockets.client, address, lengthBytes));
      assert.throws(() => io.send(port, 1, sockets.client, segments, 0, 2));
      assert.throws(() => io.trySend(sockets.client, segments, 0, 2));
    }
    for (const fdUnused of [sockets.server, sockets.listener]) {
      assert.equal(await trial.close(fdUnused), 0);
    }
    // A bug ends the process: these may count as in use for ever, so nobody waits for their end.
    const deaf = io.port(() => {});
    io.close(deaf, 1, fd);
    io.close(deaf, 2, sockets.client);
  });
}

function fileCompliance(check: Check): void {
  check('reads give what writes wrote, beyond 4 GiB too', async (trial) => {
    const fd = await makeFile(trial, 'far', 2 ** 33);
    for (const [i, position] of FAR.entries()) {
      fillPattern(trial.bytes.subarray(i * BLOCK, (i + 1) * BLOCK), i);
      assert.equal(await trial.write(fd, position, i * BLOCK, BLOCK), BLOCK);
    }
    trial.bytes.fill(0);
    for (const [i, position] of FAR.entries()) {
      assert.equal(await trial.read(fd, position, i * BLOCK, BLOCK), BLOCK);
      checkPattern(trial.bytes.subarray(i * BLOCK, (i + 1) * BLOCK), i, `at ${position}`);
    }
    assert.equal(await trial.flush(fd), 0);
    assert.equal(await trial.close(fd), 0);
  });

  check(
    'neighbours in one turn have results of their own, also at the end of the file',
    async (trial) => {
      const count = 100;
      const fd = await makeFile(trial, 'neighbours', count * BLOCK);
      fillPattern(trial.bytes.subarray(0, count * BLOCK), 1);
      const all = Array.from({ length: count }, (_, i) => i);
      const written = all.map((i) => trial.write(fd, i * BLOCK, i * BLOCK, BLOCK));
      assert.deepEqual(new Set(await Promise.all(written)), new Set([BLOCK]));
      trial.bytes.fill(0);
      // In threes, the last of which begins two blocks before the end.
      const threes = all.slice(0, count / 3 + 1).map((i) => 3 * i);
      const read = await Promise.all(
        threes.map((block) => trial.read(fd, block * BLOCK, block * BLOCK, 3 * BLOCK)),
      );
      assert.deepEqual(read, [...threes.slice(1).map(() => 3 * BLOCK), BLOCK]);
      checkPattern(trial.bytes.subarray(0, count * BLOCK), 1, 'all');
      const beyond = [count - 1, count, count + 1].map((block) =>
        trial.read(fd, block * BLOCK, block * BLOCK, BLOCK),
      );
      assert.deepEqual(await Promise.all(beyond), [BLOCK, 0, 0]);
      assert.equal(await trial.close(fd), 0);
    },
  );

  check("an error of neighbours in one turn is each one's", async (trial) => {
    const made = await makeFile(trial, 'read-only', 4 * BLOCK);
    assert.equal(await trial.close(made), 0);
    const { fd } = await trial.env.files.open(trial.path('read-only'), { readOnly: true });
    const all = [0, 1, 2, 3];
    const refused = all.map((i) => trial.write(fd, i * BLOCK, i * BLOCK, BLOCK));
    assert.deepEqual(await Promise.all(refused), [-EBADF, -EBADF, -EBADF, -EBADF]);
    const closing = all.map((i) => trial.read(fd, i * BLOCK, i * BLOCK, BLOCK));
    const closed = trial.close(fd);
    assert.deepEqual(await Promise.all(closing), [BLOCK, BLOCK, BLOCK, BLOCK]);
    assert.equal(await closed, 0);
  });

  check('reads at the end are short, beyond it empty', async (trial) => {
    const fd = await makeFile(trial, 'short', BLOCK);
    assert.equal(await trial.read(fd, 0, 0, 2 * BLOCK), BLOCK);
    assert.equal(await trial.read(fd, BLOCK / 2, 0, BLOCK), BLOCK / 2);
    assert.equal(await trial.read(fd, BLOCK, 0, BLOCK), 0);
    assert.equal(await trial.read(fd, 2 ** 33, 0, BLOCK), 0);
    assert.equal(await trial.close(fd), 0);
  });

  check('writev writes its segments in order and copies their list', async (trial) => {
    const { io } = trial;
    const fd = await makeFile(trial, 'segments', 2 * SEGMENT_COUNT_MAX * BLOCK);
    const segments = new Uint32Array(2 * SEGMENT_COUNT_MAX + 2);
    for (let i = 0; i < SEGMENT_COUNT_MAX; i += 1) {
      // Backwards in memory, forwards in the file; the first pair is skipped.
      const address = (SEGMENT_COUNT_MAX - i) * BLOCK;
      fillPattern(trial.bytes.subarray(address, address + BLOCK), i);
      segments.set([address, BLOCK], 2 * (i + 1));
    }
    const sizeBytes = SEGMENT_COUNT_MAX * BLOCK;
    const written = trial.do((port, index) => {
      io.writev(port, index, fd, BLOCK, segments, 1, SEGMENT_COUNT_MAX);
      segments.fill(0);
    });
    assert.equal(await written, sizeBytes);
    const behind = sizeBytes + BLOCK;
    assert.equal(await trial.read(fd, BLOCK, behind, sizeBytes), sizeBytes);
    for (let i = 0; i < SEGMENT_COUNT_MAX; i += 1) {
      const at = behind + i * BLOCK;
      checkPattern(trial.bytes.subarray(at, at + BLOCK), i, `segment ${i}`);
    }
    assert.equal(await trial.close(fd), 0);
  });

  check('errors are results: EBADF', async (trial) => {
    const path = trial.path('read-only');
    const made = await trial.env.files.open(path, { create: true });
    assert.equal(await trial.close(made.fd), 0);
    for (const result of [
      trial.read(made.fd, 0, 0, BLOCK),
      trial.write(made.fd, 0, 0, BLOCK),
      trial.flush(made.fd),
      trial.read(-1, 0, 0, BLOCK),
    ]) {
      assert.equal(await result, -EBADF);
    }
    const { fd } = await trial.env.files.open(path, { readOnly: true });
    assert.equal(await trial.write(fd, 0, 0, BLOCK), -EBADF);
    assert.equal(await trial.close(fd), 0);
  });
}

function depthCompliance(check: Check): void {
  check('512 mixed operations in flight', async (trial) => {
    const fd = await makeFile(trial, 'deep', 2 * DEPTH * BLOCK);
    const all: Promise<void>[] = [];
    for (let i = 0; i < DEPTH; i += 1) {
      const at = i * BLOCK;
      fillPattern(trial.bytes.subarray(at, at + BLOCK), i);
      all.push(expectResult(trial.write(fd, at, at, BLOCK), BLOCK));
      if (i % 8 === 0) all.push(expectResult(trial.flush(fd), 0));
      if (i % 8 === 1) all.push(expectResult(trial.sleep(1 + (i % 5)), 0));
      const behind = (DEPTH + i) * BLOCK;
      if (i % 4 === 2) all.push(expectResult(trial.read(fd, behind, behind, BLOCK), BLOCK));
    }
    await Promise.all(all);
    trial.bytes.fill(0);
    await Promise.all(
      Array.from({ length: DEPTH }, (_, i) =>
        expectResult(trial.read(fd, i * BLOCK, i * BLOCK, BLOCK), BLOCK),
      ),
    );
    for (let i = 0; i < DEPTH; i += 1) {
      checkPattern(trial.bytes.subarray(i * BLOCK, (i + 1) * BLOCK), i, `block ${i}`);
    }
    assert.equal(await trial.close(fd), 0);
  });

  check('4096 operations submitted in one turn all complete', async (trial) => {
    const fd = await makeFile(trial, 'flood', 512 * FLOOD);
    const segments = Uint32Array.of(0, 256, 256, 256);
    fillPattern(trial.bytes.subarray(0, 512), 7);
    const all: Promise<void>[] = [];
    for (let i = 0; i < FLOOD; i += 1) {
      const result = trial.do((port, index) =>
        trial.io.writev(port, index, fd, 512 * i, segments, 0, 2),
      );
      all.push(expectResult(result, 512));
    }
    await Promise.all(all);
    trial.bytes.fill(0);
    assert.equal(await trial.read(fd, 0, 0, 512 * FLOOD), 512 * FLOOD);
    for (let i = 0; i < FLOOD; i += 1) {
      checkPattern(trial.bytes.subarray(512 * i, 512 * (i + 1)), 7, `write ${i}`);
    }
    assert.equal(await trial.close(fd), 0);
  });
}

async function expectResult(result: Promise<number>, expected: number): Promise<void> {
  assert.equal(await result, expected);
}

function timerCompliance(check: Check): void {
  check('timers end in the order of their delays and not too early', async (trial) => {
    const order: number[] = [];
    const startedUs = trial.io.nowUs();
    await Promise.all(
      [60, 1, 30].map(async (delayMs) => {
        assert.equal(await trial.sleep(delayMs), 0);
        // Node's timers count in whole milliseconds of the loop's clock and may be one early.
        assert.ok(trial.io.nowUs() - startedUs >= (delayMs - 1) * 1000);
        order.push(delayMs);
      }),
    );
    assert.deepEqual(order, [1, 30, 60]);
  });

  check('a cancelled timer ends at once; cancelling an ended one is harmless', async (trial) => {
    const index = trial.indexNext;
    const cancelled = trial.sleep(1_000_000);
    trial.io.cancelTimer(trial.port, index);
    assert.equal(await cancelled, -ECANCELED);
    trial.io.cancelTimer(trial.port, index);
    trial.io.cancelTimer(trial.port, index + 1000);
    assert.equal(await trial.sleep(2), 0);
  });

  check('a cancelled index can be used again', async (trial) => {
    const { io } = trial;
    let ended = Promise.withResolvers<number>();
    const port = io.port((_, result) => {
      ended.resolve(result);
      io.yieldTurn();
    });
    for (let round = 0; round < 20; round += 1) {
      ended = Promise.withResolvers();
      io.timer(port, 3, round % 2 === 0 ? 1_000_000 : 1);
      if (round % 2 === 0) io.cancelTimer(port, 3);
      assert.equal(await ended.promise, round % 2 === 0 ? -ECANCELED : 0);
    }
  });
}

function turnCompliance(check: Check): void {
  check('ports hear only of their own', async (trial) => {
    const { io } = trial;
    const heard: string[] = [];
    const both = Promise.withResolvers<void>();
    const hear = (who: string) => (index: number, result: number) => {
      heard.push(`${who} ${index} ${result}`);
      if (heard.length === 2) both.resolve();
      io.yieldTurn();
    };
    const a = io.port(hear('a'));
    const b = io.port(hear('b'));
    io.timer(b, 5, 20);
    io.timer(a, 5, 1);
    await both.promise;
    assert.deepEqual(heard, ['a 5 0', 'b 5 0']);
  });

  check('hooks run after each batch, in order, and may submit', async (trial) => {
    const { io } = trial;
    const heard: string[] = [];
    const turns = [io.turnCount];
    const done = Promise.withResolvers<void>();
    let asked = false;
    const port = io.port((index) => {
      heard.push(`completion ${index}`);
      turns.push(io.turnCount);
      asked = index === 1;
      if (index === 2) done.resolve();
      io.yieldTurn();
    });
    io.onTurnEnd(() => {
      if (heard.at(-1)?.startsWith('completion')) heard.push('first hook');
      if (asked) io.timer(port, 2, 1);
      asked = false;
    });
    io.onTurnEnd(() => {
      if (heard.at(-1) === 'first hook') heard.push('second hook');
      assert.ok(io.backlog() >= 0);
    });
    io.timer(port, 1, 1);
    await done.promise;
    assert.deepEqual(heard.slice(0, 4), [
      'completion 1',
      'first hook',
      'second hook',
      'completion 2',
    ]);
    const [before = 0, first = 0, second = 0] = turns;
    assert.ok(before < first && first < second, 'batches are counted');
  });

  check('yieldTurn lets promises run before the next wait', async (trial) => {
    const { io } = trial;
    const done = Promise.withResolvers<void>();
    let ran = false;
    const port = io.port((index) => {
      if (index === 0) {
        void Promise.resolve().then(() => {
          ran = true;
          done.resolve();
          io.yieldTurn();
        });
        io.yieldTurn();
      }
    });
    io.timer(port, 0, 1);
    await done.promise;
    assert.ok(ran);
  });

  check('submit starts work early and is harmless without any', async (trial) => {
    const { io } = trial;
    io.submit();
    const result = trial.sleep(1);
    io.submit();
    io.submit();
    assert.equal(await result, 0);
    assert.equal(io.backlog(), 0);
  });
}

function closeCompliance(check: Check): void {
  check('closing a file waits for its writes', async (trial) => {
    const fd = await makeFile(trial, 'closing', 64 * BLOCK);
    const order: string[] = [];
    const writes = Array.from({ length: 64 }, async (_, i) => {
      assert.equal(await trial.write(fd, i * BLOCK, 0, BLOCK), BLOCK);
      order.push('write');
    });
    const closed = trial.close(fd).then((result) => {
      order.push('close');
      return result;
    });
    await Promise.all([...writes, closed]);
    assert.equal(await closed, 0);
    assert.equal(order.indexOf('close'), 64);
    assert.equal(await trial.close(fd), -EBADF);
  });

  check('a descriptor that is being closed takes nothing more', async (trial) => {
    const fd = await makeFile(trial, 'late', BLOCK);
    const write = trial.write(fd, 0, 0, BLOCK);
    const closed = trial.close(fd);
    const late = trial.write(fd, 0, 0, BLOCK);
    const again = trial.close(fd);
    assert.equal(await write, BLOCK);
    assert.equal(await closed, 0);
    assert.equal(await late, -EBADF);
    assert.equal(await again, -EBADF);
  });
}
