import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { test } from 'node:test';

import { Prng } from '../src/lib/prng.ts';
import { formatRequest } from './nbd-raw-client.ts';
import { fuzzLive } from './rigs/nbd-fuzz-live.ts';
import { fuzzParserCase } from './rigs/nbd-fuzz-parser.ts';
import { checkReplies, predict } from './rigs/nbd-oracle.ts';

const GROWTH_BYTES_MAX = 100_663_296;

test('the parsers stand 20,000 garbled streams', () => {
  for (let seed = 0; seed < 20_000; seed += 1) fuzzParserCase(new Prng(seed));
});

for (const io of ['auto', 'node'] as const) {
  test(`the frontend on ${io} stands 1,000 garbled sessions, and answers the rest right`, async () => {
    const result = await fuzzLive({ io, seed: 1, caseCount: 1000, clients: 4 });
    assert.equal(result.caseCount, 1000);
    assert.ok(result.answeredCount > 3000, `${result.answeredCount} requests answered`);
    assert.ok(result.residentGrowthBytes < GROWTH_BYTES_MAX, 'memory is bounded');
  });
}

test('the oracle catches a missing reply, a wrong one, wrong content and a reply to nothing', () => {
  const mode = { structured: false, contexts: false };
  const stream = Buffer.concat([
    formatRequest({ type: 1, offset: 0, data: Buffer.from('abcd'), cookie: 1n }),
    formatRequest({ type: 0, offset: 1, length: 2, cookie: 2n }),
    formatRequest({ type: 0, offset: 5000, length: 1, cookie: 3n }),
    formatRequest({ type: 2 }),
  ]);
  const prediction = predict(stream, Buffer.alloc(4096), mode);
  assert.equal(prediction.ending, 'disconnect');
  const reply = (cookie: number, errno: number, data = ''): Buffer => {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt32BE(0x67446698);
    bytes.writeUInt32BE(errno, 4);
    bytes.writeBigUInt64BE(BigInt(cookie), 8);
    return Buffer.concat([bytes, Buffer.from(data)]);
  };
  const check = (...replies: Buffer[]): number =>
    checkReplies(Buffer.concat(replies), prediction, { mode, cut: false });
  const [one, two, three] = [reply(1, 0), reply(2, 0, 'bc'), reply(3, 22)];
  assert.equal(check(three, one, two), 3);
  assert.throws(() => check(one, two), /not answered/);
  assert.throws(() => check(one, two, reply(3, 0, 'x')), /errno 0/);
  assert.throws(() => check(one, reply(2, 0, 'bd'), three), /wrong content/);
  assert.throws(() => check(one, two, three, reply(4, 0)), /reply to nothing/);
  assert.throws(() => check(one, one, two, three), /reply to nothing/);
  assert.throws(() => check(one, two, three.subarray(0, 9)), /cut off/);
});
