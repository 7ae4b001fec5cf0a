import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError, countOption, positiveOption } from './count-option.ts';

test('countOption takes whole numbers from its least on', () => {
  assert.equal(countOption('kills', '20'), 20);
  assert.equal(countOption('seed', '0', 0), 0);
  for (const text of ['0', 'abc', '', '-1', '1.5', '1e400', '0x10', '99999999999999999999']) {
    assert.throws(() => countOption('kills', text), UsageError, text);
  }
});

test('positiveOption takes fractions and no zero', () => {
  assert.equal(positiveOption('scale', '0.05'), 0.05);
  for (const text of ['0', '0.0', 'abc', '', '-1', '1.', 'Infinity']) {
    assert.throws(() => positiveOption('scale', text), UsageError, text);
  }
});
