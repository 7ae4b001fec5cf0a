import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ClientHandshake } from './nbd-handshake.ts';

const GREETING = Buffer.from('NBDMAGICIHAVEOPT\0\x03', 'latin1');

function reply(type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(20);
  header.writeBigUInt64BE(0x3e889045565a9n, 0);
  header.writeUInt32BE(7, 8);
  header.writeUInt32BE(type, 12);
  header.writeUInt32BE(data.length, 16);
  return Buffer.concat([header, data]);
}

const info = Buffer.from('000000000002000000000125', 'hex');

/** Feeds `bytes` in pieces of `pieceBytes`, keeping what is not used, as a connection does. */
function feed(handshake: ClientHandshake, bytes: Buffer, pieceBytes: number) {
  let held = Buffer.alloc(0);
  let sent = Buffer.alloc(0);
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    held = Buffer.concat([held, bytes.subarray(at, at + pieceBytes)]);
    const step = handshake.step(held);
    if (step.kind !== 'more') return { step, sent };
    held = held.subarray(step.usedBytes);
    if (step.send !== undefined) sent = Buffer.concat([sent, step.send]);
  }
  return { step: undefined, sent };
}

test('the handshake asks for the export by name and learns its size and flags', () => {
  for (const pieceBytes of [1, 7, 1000]) {
    const greeted = new ClientHandshake('volume');
    const { sent } = feed(greeted, GREETING, pieceBytes);
    const expected = '0000000349484156454f5054000000070000000c00000006';
    assert.equal(sent.toString('hex'), `${expected}${Buffer.from('volume').toString('hex')}0000`);
    const block = reply(3, Buffer.from('0003000000010000100002000000', 'hex'));
    const answers = Buffer.concat([block, reply(3, info), reply(1)]);
    const { step } = feed(greeted, answers, pieceBytes);
    assert.equal(step?.kind, 'ready');
    assert.deepEqual(step.export, { sizeBytes: 2 ** 33, flags: 0x125 });
  }
});

/** How the handshake ends on this answer to its request. */
const outcome = (answer: Buffer): string | undefined => {
  const handshake = new ClientHandshake('volume');
  feed(handshake, GREETING, 100);
  return feed(handshake, answer, 1000).step?.kind;
};

test('an unknown export is told from every other failure', () => {
  assert.equal(outcome(reply(0x8000_0006, Buffer.from('no such'))), 'unknown');
  assert.equal(outcome(reply(0x8000_0007)), 'failed');
  assert.equal(outcome(reply(1)), 'failed');
  assert.equal(outcome(Buffer.alloc(40, 1)), 'failed');
  const long = reply(3);
  long.writeUInt32BE(2 ** 20, 16);
  assert.equal(outcome(long), 'failed');
});

test('a server of another protocol is refused', () => {
  const old = Buffer.from('NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\0\0', 'latin1');
  assert.equal(new ClientHandshake('v').step(old).kind, 'failed');
  const unfixed = Buffer.from('NBDMAGICIHAVEOPT\0\0', 'latin1');
  assert.equal(new ClientHandshake('v').step(unfixed).kind, 'failed');
});
