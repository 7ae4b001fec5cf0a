import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ESHUTDOWN } from '../model/errno.ts';
import { Head } from './head.ts';
import { type Record, attached } from './record.ts';
import { reviewRecord } from './review.ts';

const ATTACHED: Record = {
  lineage: 1,
  epoch: 2,
  writer: 'attached',
  head: undefined,
  attachment: { attachId: 'a1', boot: 'b' },
  members: new Map([['r0', 1]]),
  minimum: 1,
  sizeBytes: 65_536,
};

/** A head whose store and replicas say nothing by themselves. */
function silent(stallLimitMs: number) {
  const done: string[] = [];
  const sent: Record[] = [];
  const told: string[] = [];
  let nowMs = 0;
  const head = new Head({
    id: { engine: 'e0', start: 1, attempt: 1 },
    record: ATTACHED,
    local: 'r0',
    clientLives: false,
    stallLimitMs,
    host: {
      now: () => nowMs,
      send: () => undefined,
      connect: () => undefined,
      transact: (_expected, next) => sent.push(next),
      newWriter: () => `w${sent.length}`,
      readTo: (_token, address) => address,
      onDone: (token, errno) => done.push(`${token}: ${errno}`),
      onServing: () => told.push('serving'),
      onEnd: (end) => told.push(end),
      onEvent: (event, about) =>
        told.push(about?.cause === undefined ? event : `${event}: ${about.cause}`),
      borrow: () => undefined,
      giveBack: () => undefined,
      abandon: () => undefined,
    },
  });
  const wait = (ms: number): void => {
    nowMs += ms;
    head.tick();
  };
  return { head, done, sent, told, wait };
}

test('a stall is given up also before the claim is known, and what comes of that changes nothing', () => {
  const { head, done, sent, told, wait } = silent(1000);
  head.start();
  wait(5000);
  head.path.read(1, { offsetBytes: 0, lengthBytes: 4096, address: 4096 });
  wait(1000);
  assert.deepEqual(done, []);
  wait(1);
  assert.deepEqual(done, [`1: ${ESHUTDOWN}`]);
  assert.equal(sent.length, 1);
  head.onOutcome('w0', { kind: 'committed' });
  assert.equal(head.state, 'giving up');
  wait(1);
  assert.equal(sent.at(-1)?.attachment, undefined);
  head.onOutcome('w1', { kind: 'committed' });
  assert.deepEqual(told, ['stall given up', 'given up']);
});

test('while nobody asks for anything no stall is given up', () => {
  const { head, told, wait } = silent(1000);
  head.start();
  for (let i = 0; i < 10; i++) wait(900);
  assert.deepEqual(told, []);
  assert.equal(head.state, 'claiming');
});

test('a head that is cut off from all replicas ends with a record that is not its own', () => {
  const { head, sent, told } = silent(1000);
  head.start();
  const [claim] = sent;
  assert(claim !== undefined);
  // The store has its claim, and it has not heard of that yet.
  reviewRecord(head, claim);
  reviewRecord(head, ATTACHED);
  assert.deepEqual(told, []);
  head.onOutcome('w0', { kind: 'committed' });
  reviewRecord(head, attached(claim, { attachId: 'a2', boot: 'b' }, 'control'));
  assert.deepEqual(told, ['claimed', 'overtaken']);
});
