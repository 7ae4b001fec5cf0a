import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from './errors.ts';
import { LABEL_COUNT_MAX, checkLabels, matchesLabels, parseLabel } from './labels.ts';

const refused = (error: unknown): boolean =>
  error instanceof Refusal && error.code === 'LABEL_INVALID';

test('a label is a key with a value, or alone', () => {
  assert.deepEqual(parseLabel('app=shop'), ['app', 'shop']);
  assert.deepEqual(parseLabel('app=a=b'), ['app', 'a=b']);
  assert.deepEqual(parseLabel('example.org/tier'), ['example.org/tier', '']);
});

test('keys of other characters, values too long and labels too many are refused', () => {
  for (const text of [
    '',
    '=x',
    '-a=x',
    'a b=x',
    `${'k'.repeat(129)}=x`,
    'a=x\ny',
    `a=${'v'.repeat(256)}`,
  ]) {
    assert.throws(() => parseLabel(text), refused, JSON.stringify(text));
  }
  const many = Array.from({ length: LABEL_COUNT_MAX + 1 }, (_, at) => [`k${at}`, '']);
  assert.throws(() => checkLabels(Object.fromEntries(many)), refused);
  checkLabels(Object.fromEntries(many.slice(1)));
});

test('a selection wants each of its labels', () => {
  const labels = { app: 'shop', prod: '' };
  assert.ok(matchesLabels(labels, []));
  assert.ok(matchesLabels(labels, ['app', 'prod']));
  assert.ok(matchesLabels(labels, ['app=shop', 'prod=']));
  assert.ok(!matchesLabels(labels, ['app=']));
  assert.ok(!matchesLabels(labels, ['app=shop', 'tier']));
  assert.ok(!matchesLabels(labels, ['constructor']));
});
