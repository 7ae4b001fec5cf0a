import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import { test } from 'node:test';

import * as nbd from './constants.ts';
import {
  type ExportInfo,
  type HandshakeStep,
  HANDSHAKE_REPLY_BYTES_MAX,
  Handshake,
  OPTION_BYTES_ABSURD,
  OPTION_BYTES_MAX,
  formatGreeting,
} from './handshake.ts';
import { formatOption, infoData, metaData } from '../../../test/nbd-raw-client.ts';

const INFO: ExportInfo = {
  name: '00112233445566778899aabbccddeeff',
  description: 'Holdfast volume',
  sizeBytes: 5 * 2 ** 40,
  readOnly: false,
  shuttingDown: false,
};
const FLAGS = Buffer.from([0, 0, 0, 3]);
type Reply = { readonly type: number; readonly data: Buffer };

function newHandshake(change: Partial<ExportInfo> = {}, flags = FLAGS): Handshake {
  const handshake = new Handshake(() => ({ ...INFO, ...change }));
  assert.equal(handshake.step(flags).kind, 'reply');
  return handshake;
}

function replies(step: HandshakeStep): Reply[] {
  const bytes = Buffer.from(step.reply);
  const found: Reply[] = [];
  for (let at = 0; at < bytes.length;) {
    assert.equal(bytes.readBigUInt64BE(at), 0x3e889045565a9n);
    const length = bytes.readUInt32BE(at + 16);
    found.push({
      type: bytes.readUInt32BE(at + 12),
      data: bytes.subarray(at + 20, at + 20 + length),
    });
    at += 20 + length;
  }
  return found;
}

function types(step: HandshakeStep): number[] {
  return replies(step).map(({ type }) => type);
}

test('the greeting offers fixed newstyle without zeroes', () => {
  assert.equal(Buffer.from(formatGreeting()).toString('latin1'), 'NBDMAGICIHAVEOPT\0\x03');
});

test('Handshake takes options byte by byte', () => {
  const handshake = new Handshake(() => INFO);
  const stream = Buffer.concat([FLAGS, formatOption(nbd.OPT_GO, infoData(INFO.name))]);
  let held = Buffer.alloc(0);
  let last: HandshakeStep | undefined;
  for (const byte of stream) {
    held = Buffer.concat([held, Buffer.from([byte])]);
    last = handshake.step(held);
    held = held.subarray(last.consumedBytes);
  }
  assert.equal(last?.kind, 'transmission');
  assert.equal(held.length, 0);
});

test('GO answers with size, flags and what was asked for', () => {
  const handshake = newHandshake();
  const step = handshake.step(formatOption(nbd.OPT_GO, infoData(INFO.name, [1, 2, 3, 77])));
  assert.equal(step.kind, 'transmission');
  assert.ok(step.reply.length <= HANDSHAKE_REPLY_BYTES_MAX);
  const [exported, name, description, sizes, ack] = replies(step);
  assert.equal(exported!.data.readUInt16BE(0), nbd.INFO_EXPORT);
  assert.equal(exported!.data.readBigUInt64BE(2), BigInt(INFO.sizeBytes));
  assert.equal(exported!.data.readUInt16BE(10), 1 | 4 | 8 | 32 | 64 | 256 | 1024 | 2048);
  assert.equal(name!.data.subarray(2).toString(), INFO.name);
  assert.equal(description!.data.subarray(2).toString(), INFO.description);
  assert.deepEqual(
    [2, 6, 10].map((at) => sizes!.data.readUInt32BE(at)),
    [1, 4096, 33_554_432],
  );
  assert.equal(ack!.type, nbd.REP_ACK);
});

test('INFO answers as GO does and stays in negotiation', () => {
  const handshake = newHandshake();
  const info = handshake.step(formatOption(nbd.OPT_INFO, infoData(INFO.name)));
  const go = handshake.step(formatOption(nbd.OPT_GO, infoData(INFO.name)));
  assert.equal(info.kind, 'reply');
  assert.equal(go.kind, 'transmission');
  assert.deepEqual(
    replies(info).map(({ data }) => data),
    replies(go).map(({ data }) => data),
  );
});

test('only the attach id names the export, and the refusal says how', () => {
  const other = `f${INFO.name.slice(1)}`;
  for (const name of ['', other, `${INFO.name}0`, INFO.name.slice(1)]) {
    const step = newHandshake().step(formatOption(nbd.OPT_GO, infoData(name)));
    assert.equal(step.kind, 'reply');
    assert.deepEqual(types(step), [nbd.REP_ERR_UNKNOWN]);
    assert.match(replies(step)[0]!.data.toString(), /nbd\+unix:\/\/\/00112233/);
  }
});

test('malformed option data is refused as invalid', () => {
  const name = infoData(INFO.name, [3]);
  const longer = Buffer.from(name);
  longer.writeUInt32BE(0xffffffff, 0);
  const moreRequests = Buffer.from(name);
  moreRequests.writeUInt16BE(9, 4 + INFO.name.length);
  for (const data of [Buffer.alloc(0), Buffer.alloc(5), longer, moreRequests, name.subarray(1)]) {
    assert.deepEqual(types(newHandshake().step(formatOption(nbd.OPT_GO, data))), [
      nbd.REP_ERR_INVALID,
    ]);
  }
  for (const option of [nbd.OPT_LIST, nbd.OPT_STRUCTURED_REPLY, nbd.OPT_STARTTLS]) {
    const step = newHandshake().step(formatOption(option, Buffer.alloc(1)));
    assert.deepEqual(types(step), [nbd.REP_ERR_INVALID], `option ${option}`);
  }
});

test('unknown options, TLS and extended headers are refused as unsupported', () => {
  for (const option of [4, nbd.OPT_STARTTLS, 11, 12, 0, 0xffffffff]) {
    const step = newHandshake().step(formatOption(option));
    assert.equal(step.kind, 'reply');
    assert.deepEqual(types(step), [nbd.REP_ERR_UNSUP]);
  }
});

test('options that are too big are skipped and answered; absurd ones end the session', () => {
  const handshake = newHandshake();
  const big = formatOption(99, Buffer.alloc(OPTION_BYTES_MAX + 1));
  const step = handshake.step(big.subarray(0, 16));
  assert.deepEqual(types(step), [nbd.REP_ERR_TOO_BIG]);
  assert.equal(handshake.step(big.subarray(16, 1000)).consumedBytes, 984);
  assert.equal(handshake.step(big.subarray(1000)).consumedBytes, big.length - 1000);
  assert.deepEqual(types(handshake.step(formatOption(nbd.OPT_LIST))), [
    nbd.REP_SERVER,
    nbd.REP_ACK,
  ]);
  const header = formatOption(99);
  header.writeUInt32BE(OPTION_BYTES_ABSURD + 1, 12);
  assert.equal(newHandshake().step(header).kind, 'close');
});

test('LIST names the one export', () => {
  const [server] = replies(newHandshake().step(formatOption(nbd.OPT_LIST)));
  assert.equal(server!.data.readUInt32BE(0), INFO.name.length);
  assert.equal(server!.data.subarray(4).toString(), INFO.name + INFO.description);
});

test('structured replies turn on DF; base:allocation needs them', () => {
  const handshake = newHandshake();
  const set = formatOption(
    nbd.OPT_SET_META_CONTEXT,
    metaData(INFO.name, ['base:allocation', 'x:']),
  );
  assert.deepEqual(types(handshake.step(set)), [nbd.REP_ERR_INVALID]);
  assert.deepEqual(types(handshake.step(formatOption(nbd.OPT_STRUCTURED_REPLY))), [nbd.REP_ACK]);
  const context = replies(handshake.step(set))[0]!;
  assert.equal(context.type, nbd.REP_META_CONTEXT);
  assert.equal(context.data.readUInt32BE(0), nbd.ALLOCATION_CONTEXT_ID);
  assert.equal(context.data.subarray(4).toString(), 'base:allocation');
  assert.equal(handshake.allocationContext, true);
  const go = handshake.step(formatOption(nbd.OPT_GO, infoData(INFO.name)));
  assert.ok((replies(go)[0]!.data.readUInt16BE(10) & nbd.FLAG_SEND_DF) !== 0);
});

test('SET_META_CONTEXT replaces what was set, also when it fails', () => {
  const handshake = newHandshake();
  handshake.step(formatOption(nbd.OPT_STRUCTURED_REPLY));
  const set = (data: Buffer): number[] =>
    types(handshake.step(formatOption(nbd.OPT_SET_META_CONTEXT, data)));
  for (const [data, expected] of [
    [metaData(INFO.name, ['base:']), [nbd.REP_ACK]],
    [metaData(INFO.name, []), [nbd.REP_ACK]],
    [metaData(INFO.name, ['qemu:dirty-bitmap:x']), [nbd.REP_ACK]],
    [metaData(INFO.name, ['nocolon']), [nbd.REP_ERR_INVALID]],
    [metaData('other', ['base:allocation']), [nbd.REP_ERR_UNKNOWN]],
    [metaData(INFO.name, ['base:allocation']).subarray(0, 58), [nbd.REP_ERR_INVALID]],
  ] as const) {
    assert.equal(set(metaData(INFO.name, ['base:allocation'])).length, 2);
    assert.equal(handshake.allocationContext, true);
    assert.deepEqual(set(data), expected);
    assert.equal(handshake.allocationContext, false);
  }
});

test('LIST_META_CONTEXT lists for no query, the wildcard and the name', () => {
  const handshake = newHandshake();
  handshake.step(formatOption(nbd.OPT_STRUCTURED_REPLY));
  for (const [queries, count] of [
    [[], 1],
    [['base:'], 1],
    [['base:allocation'], 1],
    [['base:other', 'qemu:'], 0],
  ] as const) {
    const step = handshake.step(
      formatOption(nbd.OPT_LIST_META_CONTEXT, metaData(INFO.name, queries)),
    );
    assert.equal(types(step).length, count + 1, queries.join());
  }
  assert.equal(handshake.allocationContext, false);
});

test('EXPORT_NAME answers without a header, with zeroes unless they were declined', () => {
  for (const [flags, length] of [
    [1, 134],
    [3, 10],
  ] as const) {
    const handshake = newHandshake({ readOnly: true }, Buffer.from([0, 0, 0, flags]));
    const step = handshake.step(formatOption(nbd.OPT_EXPORT_NAME, Buffer.from(INFO.name)));
    assert.equal(step.kind, 'transmission');
    assert.equal(step.reply.length, length);
    assert.equal(Buffer.from(step.reply).readBigUInt64BE(0), BigInt(INFO.sizeBytes));
    assert.ok((Buffer.from(step.reply).readUInt16BE(8) & nbd.FLAG_READ_ONLY) !== 0);
  }
  const wrong = newHandshake().step(formatOption(nbd.OPT_EXPORT_NAME, Buffer.from('other')));
  assert.equal(wrong.kind, 'close');
});

test('unknown client flags and a wrong magic end the session', () => {
  assert.equal(new Handshake(() => INFO).step(Buffer.from([0, 0, 0, 4])).kind, 'close');
  const handshake = newHandshake();
  assert.equal(handshake.step(Buffer.alloc(16, 0x41)).kind, 'close');
  assert.equal(handshake.step(formatOption(nbd.OPT_LIST)).kind, 'close');
});

test('ABORT is acknowledged and ends the session, whatever data it has', () => {
  const step = newHandshake().step(formatOption(nbd.OPT_ABORT, Buffer.alloc(7)));
  assert.equal(step.kind, 'close');
  assert.deepEqual(types(step), [nbd.REP_ACK]);
});

test('while the attachment ends, options are refused and ABORT is not', () => {
  const handshake = newHandshake({ shuttingDown: true });
  assert.deepEqual(types(handshake.step(formatOption(nbd.OPT_GO, infoData(INFO.name)))), [
    nbd.REP_ERR_SHUTDOWN,
  ]);
  assert.deepEqual(types(handshake.step(formatOption(nbd.OPT_ABORT))), [nbd.REP_ACK]);
});
