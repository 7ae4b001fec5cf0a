import assert from 'node:assert/strict';
import { test } from 'node:test';

import { formatMessage, parseMessages } from './generic-netlink.ts';
import { formatConnect, formatReconnect } from './nbd-netlink.ts';

test('formatMessage pads attributes and marks nested ones', () => {
  const bytes = formatMessage({
    family: 0x1c,
    command: 3,
    version: 1,
    attributes: [
      { type: 1, u32: 5 },
      { type: 10, text: 'ab' },
      { type: 7, nested: [{ type: 1, nested: [{ type: 1, u32: 9 }] }] },
    ],
  });
  const expected = [
    '340000001c0005000100000000000000',
    '03010000',
    '0800010005000000',
    '07000a0061620000',
    '100007800c0001800800010009000000',
  ].join('');
  assert.equal(Buffer.from(bytes).toString('hex'), expected);
});

test('parseMessages tells data from the end, and an errno from success', () => {
  const data = formatMessage({
    family: 0x1c,
    command: 1,
    version: 1,
    attributes: [{ type: 1, u32: 4 }],
  });
  const end = Buffer.alloc(36);
  end.writeUInt32LE(36, 0);
  end.writeUInt16LE(2, 4);
  end.writeInt32LE(-16, 16);
  const messages = parseMessages(Buffer.concat([data, end]));
  assert.equal(messages[0]!.kind, 'data');
  assert.equal(
    messages[0]!.kind === 'data' && messages[0]!.attributes.get(1)!.getUint32(0, true),
    4,
  );
  assert.deepEqual(messages[1], { kind: 'end', errno: 16 });
  assert.deepEqual(parseMessages(end.subarray(0, 30)), []);
  end.writeUInt32LE(3, 0);
  assert.deepEqual(parseMessages(end), []);
});

test('commands to nbd name their device and the attachment', () => {
  const target = { family: 30, index: 2, backend: 'x' };
  const options = { socket: 9, sizeBytes: 2 ** 40, sectorBytes: 4096, flags: 5, deadSeconds: 10 };
  const parsed = parseMessages(formatConnect(target, options))[0]!;
  assert.ok(parsed.kind === 'data');
  assert.equal(parsed.attributes.get(1)!.getUint32(0, true), 2);
  assert.equal(parsed.attributes.get(2)!.getBigUint64(0, true), 2n ** 40n);
  assert.equal(parsed.attributes.get(3)!.getBigUint64(0, true), 4096n);
  assert.equal(parsed.attributes.get(5)!.getBigUint64(0, true), 5n);
  assert.equal(parsed.attributes.get(8)!.getBigUint64(0, true), 10n);
  assert.equal(parsed.attributes.has(4), false, 'no timeout of requests');
  const again = parseMessages(formatReconnect(target, 11))[0]!;
  assert.ok(again.kind === 'data');
  assert.equal(again.attributes.get(7)!.getUint32(8, true), 11);
  assert.equal(again.attributes.get(10)!.byteLength, 2);
});
