import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BLOCK_BYTES } from '../../model/block-target.ts';
import { Answer, Request } from '../../replication/messages.ts';
import type { Replica } from '../../replication/replica.ts';
import { MemoryUses } from '../memory-uses.ts';
import { LocalLink } from './local-link.ts';
import type { LocalClient } from './replicas.ts';

test('a connection goes once its link is closed and the replica has done with all that it was asked', () => {
  const clients = new Map<number, LocalClient>();
  const asked: [connection: number, token: number][] = [];
  const replica = {
    receive: (connection: number, request: Request) => asked.push([connection, request.token]),
  };
  const deferred: (() => void)[] = [];
  const memory = new MemoryUses(new WebAssembly.Memory({ initial: 1 }));
  memory.addPiece(BLOCK_BYTES, BLOCK_BYTES);
  const link = new LocalLink(
    'r0',
    {
      replicas: {
        connect: (_id, client) => {
          const number = -1 - asked.length;
          clients.set(number, client);
          return { number, replica: replica as unknown as Replica };
        },
        disconnect: (number) => clients.delete(number),
      },
      memory,
      defer: (step) => deferred.push(step),
    },
    { onConnected: () => undefined, onUnreachable: () => undefined, onAnswer: () => undefined },
  );
  const connect = (): void => {
    link.connect();
    for (const step of deferred.splice(0)) step();
  };
  connect();
  const request = new Request();
  request.address = BLOCK_BYTES;
  for (const kind of ['read', 'durable'] as const) {
    request.kind = kind;
    link.send(request);
  }
  connect();
  assert.deepEqual([...clients.keys()], [-1, -3], 'the first one is asked for something yet');
  const [[, read], [, durable]] = asked as [[number, number], [number, number]];
  const answer = new Answer();
  answer.token = read;
  clients.get(-1)?.answer(answer);
  assert.deepEqual([...clients.keys()], [-1, -3]);
  clients.get(-1)?.dropped(durable);
  assert.deepEqual([...clients.keys()], [-3]);
  link.close();
  assert.equal(clients.size, 0, 'one that is asked for nothing goes at once');
});
