import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prng } from '../lib/prng.ts';
import { Gate } from './gate.ts';
import { Piece, Request, type Client, type PieceKind } from './piece.ts';
import { Volume } from './volume.ts';

function clientOf(number: number): Client {
  const volume = new Volume({
    number,
    slot: number,
    uuid: number.toString(16).padStart(32, '0'),
    sizeBytes: 2 ** 20,
    epoch: 0,
    birth: 1,
    attachId: undefined,
  });
  return { volume, birthMax: Infinity, onDone: () => undefined };
}

const CLIENTS = [clientOf(1), clientOf(2)];

function piece(
  index: number,
  shape: { client: Client; kind: PieceKind; extent: number; mask: number },
): Piece {
  const made = new Piece(index);
  made.request = new Request();
  made.request.client = shape.client;
  made.kind = shape.kind;
  made.extent = shape.extent;
  made.mask = shape.mask;
  return made;
}

/** The rule, said plainly: two of one volume that share a block, and are not both reads. */
function clash(a: Piece, b: Piece): boolean {
  if (a.request?.client !== b.request?.client || a.extent !== b.extent) return false;
  return (a.mask & b.mask) !== 0 && !(a.kind === 'read' && b.kind === 'read');
}

/** Of pieces in order of arrival, those that nothing before them holds up. */
function admissible(arrived: readonly Piece[]): Piece[] {
  return arrived.filter((each, at) => !arrived.slice(0, at).some((other) => clash(other, each)));
}

test('the gate agrees with a list over random pieces that come and go', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const prng = new Prng(seed);
    const gate = new Gate();
    let arrived: Piece[] = [];
    const inside = new Set<Piece>();
    for (let step = 0; step < 1500; step++) {
      if (prng.chance(50) && arrived.length < 40) {
        const made = piece(step, {
          client: prng.pick(CLIENTS),
          kind: prng.pick(['read', 'write', 'trim', 'zero', 'edge'] as const),
          extent: prng.below(3),
          mask: 1 + prng.below(0xffff),
        });
        arrived.push(made);
        if (gate.enter(made)) inside.add(made);
      } else if (inside.size > 0) {
        const over = prng.pick([...inside]);
        inside.delete(over);
        arrived = arrived.filter((each) => each !== over);
        gate.leave(over, (admitted) => {
          assert.ok(!inside.has(admitted), 'a piece is let in once');
          inside.add(admitted);
        });
      }
      assert.deepEqual(new Set(admissible(arrived)), inside);
    }
  }
});

test('writes of one block pass in the order in which they came', () => {
  const gate = new Gate();
  const shape = { client: CLIENTS[0]!, kind: 'write', extent: 0, mask: 1 } as const;
  const pieces = [0, 1, 2].map((index) => piece(index, shape));
  assert.deepEqual(
    pieces.map((each) => gate.enter(each)),
    [true, false, false],
  );
  const order: number[] = [];
  gate.leave(pieces[0]!, (admitted) => order.push(admitted.index));
  assert.deepEqual(order, [1]);
  gate.leave(pieces[1]!, (admitted) => order.push(admitted.index));
  assert.deepEqual(order, [1, 2]);
});

test('reads share, and a write between them holds the later one', () => {
  const gate = new Gate();
  const at = (index: number, kind: PieceKind): Piece =>
    piece(index, { client: CLIENTS[0]!, kind, extent: 0, mask: 0xffff });
  const [first, second, write, third] = [
    at(0, 'read'),
    at(1, 'read'),
    at(2, 'write'),
    at(3, 'read'),
  ];
  assert.deepEqual(
    [first, second, write, third].map((each) => gate.enter(each)),
    [true, true, false, false],
  );
  const order: number[] = [];
  gate.leave(second, (admitted) => order.push(admitted.index));
  gate.leave(first, (admitted) => order.push(admitted.index));
  assert.deepEqual(order, [2]);
  gate.leave(write, (admitted) => order.push(admitted.index));
  assert.deepEqual(order, [2, 3]);
});
