import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { Io } from '../../env/io.ts';
import { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES, type BlockTarget } from '../../model/block-target.ts';
import { MemoryUses } from '../memory-uses.ts';
import { Meter } from '../meter.ts';
import { Answers, STREAM_PIECE } from './answers.ts';
import { Attachment, type AttachmentOptions } from './attachment.ts';
import { Connection } from './connection.ts';
import { Dispatcher } from './dispatcher.ts';
import type { Sender } from './sender.ts';
import { SlotPool, slotPoolBytes } from './slots.ts';

/** Two connections without sockets: one that is gone, and another. */
function newAnswers() {
  const pages = Math.ceil((slotPoolBytes(2) + 4096) / 65_536);
  const arena = new Arena(new WebAssembly.Memory({ initial: pages, maximum: pages }));
  const slots = new SlotPool(arena, 2, new MemoryUses(arena.memory));
  const answers = new Answers(arena, {
    slots,
    sender: { push: () => undefined } as unknown as Sender,
    events: { onReleased: () => undefined, onBroken: () => undefined },
  });
  const [gone, other] = [0, 1].map((index) => new Connection(slots, index, 0)) as [
    Connection,
    Connection,
  ];
  /** A read of one piece, in the lane. */
  const enter = (connection: Connection): number => {
    const parent = slots.takeHeader(connection.index);
    const slot = slots.takeData(connection.index, BLOCK_BYTES);
    slots.kind[slot] = STREAM_PIECE;
    slots.parent[slot] = parent;
    slots.outstanding[parent] = 1;
    answers.enterLane(connection, slot);
    return slot;
  };
  return { slots, answers, gone, other, enter };
}

test('pieces that end while their connection is being closed are given back once, and touch no other connection', () => {
  const { slots, answers, gone, other, enter } = newAnswers();
  const [first, second] = [enter(gone), enter(gone)];
  gone.phase = 'over';
  answers.complete(gone, first, 0);
  // Behind a piece that is still read.
  enter(other);
  const waiting = enter(other);
  answers.complete(other, waiting, 0);
  gone.closed = true;
  answers.dropLane(gone);
  assert.deepEqual([slots.heldBy(0), slots.heldBy(1)], [2, 4]);
  answers.complete(gone, second, 0);
  assert.deepEqual([slots.heldBy(0), slots.heldBy(1)], [0, 4]);
});

test('pieces that wait for the target while their connection is being closed stay in its lane', () => {
  const { slots, answers, gone, other, enter } = newAnswers();
  const io = { nowUs: () => 0 } as unknown as Io;
  const dispatcher = new Dispatcher(io, { slots, connections: [gone, other], answers });
  const target = { requestCountMax: 1, read: () => undefined } as unknown as BlockTarget;
  const meter = new Meter();
  const options = { meter } as unknown as AttachmentOptions;
  const attachment = new Attachment(slots, { index: 0, listener: -1, options, target });
  gone.attachment = attachment;
  const [read, waiting] = [enter(gone), enter(gone)];
  dispatcher.start(gone, read);
  dispatcher.start(gone, waiting);
  gone.phase = 'over';
  dispatcher.onDone(attachment, read, 0);
  assert.equal(meter.inFlight, 0);
  assert.equal(slots.heldBy(0), 4);
  gone.closed = true;
  answers.dropLane(gone);
  assert.equal(slots.heldBy(0), 0);
});
