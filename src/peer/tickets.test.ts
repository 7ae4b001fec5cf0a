import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { test } from 'node:test';

import { EXPORT_BYTES, proofOf } from './keys.ts';
import { Tickets } from './tickets.ts';

function rig() {
  let nowMs = 5000;
  const tickets = new Tickets({
    clock: { bootMs: () => nowMs },
    random: { below: () => 0, bytes: (length) => new Uint8Array(crypto.randomBytes(length)) },
  });
  const give = () => {
    const ticket = tickets.draw()!;
    const exported = new Uint8Array(crypto.randomBytes(EXPORT_BYTES));
    const proof = proofOf(exported).slice();
    tickets.give(ticket, { replica: 'r0', sealed: true, exported });
    return { ticket, exported, proof };
  };
  return { tickets, give, sleep: (ms: number) => (nowMs += ms) };
}

test('a ticket is taken once, by who has its keys', () => {
  const { tickets, give } = rig();
  const [one, other] = [give(), give()];
  const taken = tickets.take(one.ticket, one.proof);
  assert.equal(taken?.replica, 'r0');
  assert.deepEqual(taken?.exported, one.exported);
  assert.equal(tickets.take(one.ticket, one.proof), undefined);
  assert.equal(tickets.take(other.ticket, one.proof), undefined);
  // A guess costs the ticket, and its keys are gone.
  assert.equal(tickets.take(other.ticket, other.proof), undefined);
  assert.ok(other.exported.every((byte) => byte === 0));
  assert.equal(tickets.take(crypto.randomBytes(16), one.proof), undefined);
});

test('a ticket lasts for 10 s, and so many at most', () => {
  const { tickets, give, sleep } = rig();
  const [late, soon] = [give(), give()];
  sleep(9999);
  assert.ok(tickets.take(soon.ticket, soon.proof));
  sleep(1);
  assert.equal(tickets.take(late.ticket, late.proof), undefined);
  assert.ok(late.exported.every((byte) => byte === 0));
  for (let count = 0; count < 1024; count += 1) give();
  assert.equal(tickets.draw(), undefined);
  sleep(10_000);
  assert.ok(tickets.draw());
});
