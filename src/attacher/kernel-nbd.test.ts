import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { RawSockets } from '../env/linux/raw-sockets.ts';
import { EPERM } from '../model/errno.ts';
import { parseMessages } from '../wire/netlink/generic-netlink.ts';
import type { MadeLog } from './made-log.ts';
import { type KernelNbdParts, makeDevice } from './kernel-nbd.ts';

const REQUEST_TIMEOUT = 4;
const DEAD_CONNECTION_TIMEOUT = 8;
const YEAR_SECONDS = 365 * 86_400;

test('the driver is told to fail no request: neither one that waits for the engine, nor one whose answer is slow', () => {
  const asked: Uint8Array[] = [];
  const made: string[] = [];
  const sockets: Partial<RawSockets> = {
    netlink: (request) => {
      asked.push(request);
      return EPERM;
    },
  };
  const log: Partial<MadeLog> = {
    record: () => void made.push('recorded'),
    forget: () => void made.push('forgotten'),
  };
  const parts: Partial<KernelNbdParts> = { made: log as MadeLog };
  const spec = { attachId: 'a7', uuid: 'v', socketPath: '/x.sock', sizeBytes: 2 ** 20 };
  const connected = {
    kind: 'connected',
    fd: 9,
    export: { sizeBytes: spec.sizeBytes, flags: 5 },
  } as const;
  const options = { sockets: sockets as RawSockets, family: 30, spec, connected };
  assert.throws(() => makeDevice(parts as KernelNbdParts, options), /EPERM/);
  assert.deepEqual(made, ['recorded', 'forgotten']);
  const [message] = asked.flatMap((request) => parseMessages(request));
  assert.ok(message?.kind === 'data');
  const seconds = message.attributes.get(DEAD_CONNECTION_TIMEOUT)?.getBigUint64(0, true);
  assert.ok(Number(seconds) >= YEAR_SECONDS, `it gives up after ${seconds} s`);
  assert.equal(message.attributes.has(REQUEST_TIMEOUT), false);
});
