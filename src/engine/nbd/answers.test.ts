import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Arena } from '../../lib/arena.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import { MemoryUses } from '../memory-uses.ts';
import { Answers, STREAM_PIECE } from './answers.ts';
import { Connection } from './connection.ts';
import type { Sender } from './sender.ts';
import { SlotPool, slotPoolBytes } from './slots.ts';

test('pieces that end while their connection is being closed are given back once, and touch no other connection', () => {
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
  const enter = (connection: Connection): number => {
    const parent = slots.takeHeader(connection.index);
    const slot = slots.takeData(connection.index, BLOCK_BYTES);
    slots.kind[slot] = STREAM_PIECE;
    slots.parent[slot] = parent;
    slots.outstanding[parent] = 1;
    answers.enterLane(connection, slot);
    return slot;
  };
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
