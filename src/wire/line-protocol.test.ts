import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  LINE_BYTES_MAX,
  LineSplitter,
  formatLineError,
  formatLineOk,
  formatLineProgress,
  formatLineRequest,
  parseLineAnswer,
  parseLineRequest,
} from './line-protocol.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

test('LineSplitter gives whole lines, however they arrive', () => {
  const splitter = new LineSplitter();
  const all = bytes('{"ä":1}\n\n{"b":2}\nrest');
  const lines: string[] = [];
  for (const byte of all) lines.push(...splitter.take(Uint8Array.of(byte))!);
  assert.deepEqual(lines, ['{"ä":1}', '', '{"b":2}']);
  assert.deepEqual(splitter.take(bytes('\n')), ['rest']);
});

test('LineSplitter refuses lines of more than 64 KiB, ended or not', () => {
  const longest = 'x'.repeat(LINE_BYTES_MAX - 1);
  assert.deepEqual(new LineSplitter().take(bytes(`${longest}\n`)), [longest]);
  assert.equal(new LineSplitter().take(bytes(`${longest}x\n`)), undefined);
  assert.equal(new LineSplitter().take(bytes(`${longest}x`)), undefined);
});

test('parseLineRequest reads what formatLineRequest writes and names what is wrong', () => {
  const request = { id: 7, call: 'volume.create', args: { sizeBytes: 1 } };
  assert.deepEqual(parseLineRequest(formatLineRequest(request)), request);
  assert.deepEqual(parseLineRequest('{"id":1,"call":"list"}'), { id: 1, call: 'list', args: {} });
  for (const line of [
    '',
    '[]',
    'null',
    '{"id":"1","call":"x"}',
    '{"id":1}',
    '{"id":1,"call":"x","args":[]}',
  ]) {
    assert.ok('problem' in parseLineRequest(line), line);
  }
});

test('parseLineAnswer reads the three kinds of answer', () => {
  const error = { code: 'VOLUME_NOT_FOUND', message: 'There is none', details: { volume: 'a' } };
  const progress = { doneBytes: 1, totalBytes: 2 };
  assert.deepEqual(parseLineAnswer(formatLineOk(1, { a: 1 })), { kind: 'ok', id: 1, ok: { a: 1 } });
  assert.deepEqual(parseLineAnswer(formatLineError(2, error)), { kind: 'error', id: 2, error });
  assert.deepEqual(parseLineAnswer(formatLineProgress(3, progress)), {
    kind: 'progress',
    id: 3,
    progress,
  });
  for (const line of ['', '{}', '{"id":1}', '{"id":1,"progress":{}}', '{"ok":{}}']) {
    assert.ok('problem' in parseLineAnswer(line), line);
  }
});
