import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ESTALE } from '../model/errno.ts';
import { type Answer, Request } from './messages.ts';
import type { HeadId, Record } from './record.ts';
import { GRANT_MS, Replica, type ReplicaContent, type ReplicaState } from './replica.ts';

const HEAD_0: HeadId = { engine: 'e0', start: 1, attempt: 1 };
const HEAD_1: HeadId = { engine: 'e1', start: 1, attempt: 1 };

function record(epoch: number, head: HeadId, writer = `w${epoch}`): Record {
  return {
    lineage: 1,
    epoch,
    writer,
    head,
    attachment: { attachId: 'a', boot: 'b' },
    members: new Map([['r0', 1]]),
    minimum: 1,
    sizeBytes: 4096,
  };
}

/** A replica whose content does everything when it is told to. */
function rig(state: ReplicaState = { seen: undefined, base: undefined }) {
  const calls: string[] = [];
  const waiting: number[] = [];
  const answers: string[] = [];
  const dropped: string[] = [];
  let nowMs = 10_000;
  const later = (name: string) => (token: number, detail?: unknown) => {
    calls.push(typeof detail === 'number' ? `${name} ${detail}` : name);
    waiting.push(token);
  };
  const content: ReplicaContent = {
    life: 1,
    state,
    read: later('read'),
    change: later('change'),
    flush: later('flush'),
    keep: later('keep'),
    stamp: later('stamp'),
    dropMarks: (epoch, number) => calls.push(`drop ${epoch} ${number}`),
    marks: () => [],
    digest: later('digest'),
    survey: () => [],
  };
  const replica = new Replica('r0', {
    content,
    host: {
      now: () => nowMs,
      answer: (connection, answer: Answer) =>
        answers.push(`${connection}: ${answer.kind} s${answer.session} ${answer.errno}`),
      dropped: (connection, token) => dropped.push(`${connection}: ${token}`),
    },
  });
  const ask = (connection: number, fields: Partial<Request>): void =>
    replica.receive(connection, Object.assign(new Request(), fields));
  return {
    calls,
    answers,
    dropped,
    ask,
    replica,
    open: (connection: number, session: number, seen: Record) =>
      ask(connection, { kind: 'open', session, head: seen.head, record: seen }),
    /** The oldest thing that the content was asked for is done. */
    done: (errno = 0) => replica.onDone(waiting.shift()!, errno),
    sleep: (ms: number) => {
      nowMs += ms;
      replica.tick();
    },
  };
}

test('a session is answered when marks are stamped and the record is durable', () => {
  const { calls, answers, open, done, replica } = rig();
  open(1, 1, record(2, HEAD_0));
  assert.deepEqual(calls, ['stamp 2']);
  done();
  assert.deepEqual(calls, ['stamp 2', 'keep']);
  assert.deepEqual(answers, []);
  done();
  assert.deepEqual(answers, ['1: open s1 0']);
  assert.deepEqual(replica.state.base, { lineage: 1, epoch: 2 });
});

test('a newer session waits for the I/O of the older one, whose answers are dropped', () => {
  const { calls, answers, open, ask, done } = rig();
  open(1, 1, record(2, HEAD_0));
  done();
  done();
  ask(1, { kind: 'write', session: 1, sequence: 1, epoch: 2 });
  open(2, 2, record(2, HEAD_0));
  assert.equal(calls.at(-1), 'change');
  ask(1, { kind: 'write', session: 1, sequence: 2, epoch: 2 });
  assert.equal(calls.at(-1), 'change');
  done();
  assert.deepEqual(answers, ['1: open s1 0']);
  assert.equal(calls.at(-1), 'stamp 2');
});

test('what is older, or another head at the same epoch, is refused', () => {
  const { answers, open, done } = rig();
  open(1, 1, record(3, HEAD_0));
  done();
  done();
  open(2, 1, record(2, HEAD_1));
  open(3, 1, record(3, HEAD_1, 'another'));
  open(4, 1, record(3, HEAD_0));
  assert.deepEqual(
    answers.slice(1),
    [2, 3, 4].map((each) => `${each}: open s1 ${ESTALE}`),
  );
});

test('another head waits until the grant has ended, one of the same engine does not', () => {
  for (const [head, waits] of [
    [HEAD_1, true],
    [{ engine: 'e0', start: 2, attempt: 1 }, false],
  ] as const) {
    const { calls, open, ask, done, sleep } = rig();
    open(1, 1, record(2, HEAD_0));
    done();
    done();
    ask(1, { kind: 'renew', session: 1, sequence: 1 });
    open(2, 1, record(3, head));
    assert.equal(calls.length, waits ? 2 : 3);
    sleep(GRANT_MS - 1);
    assert.equal(calls.length, waits ? 2 : 3);
    sleep(1);
    assert.equal(calls.length, 3);
  }
});

test('after a start of its process it does not know what it granted', () => {
  const seen = record(2, HEAD_0);
  const { calls, open, sleep } = rig({ seen, base: { lineage: 1, epoch: 2 } });
  open(1, 1, record(3, HEAD_1));
  assert.deepEqual(calls, []);
  sleep(GRANT_MS);
  assert.deepEqual(calls, ['stamp 3']);
});

test('a set change waits for changes of older epochs, and not for those of its own', () => {
  const { calls, answers, open, ask, done } = rig();
  open(1, 1, record(2, HEAD_0));
  done();
  done();
  ask(1, { kind: 'write', session: 1, sequence: 1, epoch: 2 });
  ask(1, {
    kind: 'record',
    session: 1,
    sequence: 2,
    token: 3,
    epoch: 3,
    record: record(3, HEAD_0),
  });
  ask(1, { kind: 'write', session: 1, sequence: 3, epoch: 3 });
  assert.deepEqual(calls.slice(2), ['change', 'change']);
  done();
  assert.deepEqual(calls.slice(4), ['stamp 3']);
  done();
  done();
  done();
  assert.deepEqual(answers.slice(1), ['1: write s1 0', '1: write s1 0', '1: record s1 0']);
});

test('a gap in the requests ends the session', () => {
  const { calls, open, ask, done } = rig();
  open(1, 1, record(2, HEAD_0));
  done();
  done();
  ask(1, { kind: 'write', session: 1, sequence: 2, epoch: 2 });
  ask(1, { kind: 'write', session: 1, sequence: 1, epoch: 2 });
  assert.deepEqual(calls, ['stamp 2', 'keep']);
});

test('a request is answered or dropped, once, whenever its session ends', () => {
  const { answers, dropped, open, ask, done } = rig();
  open(1, 1, record(2, HEAD_0));
  done();
  done();
  ask(1, { kind: 'write', session: 1, sequence: 1, epoch: 2, token: 11 });
  ask(1, { kind: 'durable', session: 1, sequence: 2, epoch: 2, token: 12 });
  ask(1, {
    kind: 'record',
    session: 1,
    sequence: 3,
    record: record(3, HEAD_0),
    epoch: 3,
    token: 13,
  });
  assert.deepEqual(dropped, ['1: 12']);
  // It waits for the write, as the session before it does.
  ask(2, { kind: 'open', session: 2, head: HEAD_0, record: record(4, HEAD_0), token: 20 });
  assert.deepEqual(dropped.splice(0), ['1: 12', '1: 13']);
  ask(1, { kind: 'read', session: 1, sequence: 4, token: 14 });
  ask(3, { kind: 'open', session: 3, head: HEAD_0, record: record(4, HEAD_0), token: 30 });
  assert.deepEqual(dropped.splice(0), ['1: 14', '2: 20']);
  done();
  assert.deepEqual(dropped.splice(0), ['1: 11']);
  done();
  done();
  assert.deepEqual(answers.slice(1), ['3: open s3 0']);
  // One is missing before it.
  ask(3, { kind: 'read', session: 3, sequence: 2, token: 31 });
  ask(3, { kind: 'read', session: 3, sequence: 1, token: 32 });
  assert.deepEqual(dropped, ['3: 31', '3: 32']);
});
