import assert from 'node:assert/strict';
import { test } from 'node:test';

import stringWidth from 'string-width';

import { fields } from './output.ts';
import { type Column, layOut } from './table.ts';

const COLUMNS: readonly Column[] = ['NAME', 'SIZE', 'STATE', 'WHERE'].map((heading, rank) => ({
  heading,
  rank,
}));
const ROWS = [
  ['db', '10 GiB', 'attached', 'nbd+unix:///5d1c0d4e?socket=/run/holdfast/nbd/5d1c0d4e.sock'],
  ['logs', '812 MiB', 'idle', ''],
] as const;

const lines = (width: number): string[] => layOut(COLUMNS, ROWS, width);

test('a table is as wide as its cells, two places between them', () => {
  assert.deepEqual(lines(Number.POSITIVE_INFINITY), [
    'NAME  SIZE     STATE     WHERE',
    'db    10 GiB   attached  nbd+unix:///5d1c0d4e?socket=/run/holdfast/nbd/5d1c0d4e.sock',
    'logs  812 MiB  idle      ',
  ]);
});

test('long cells are cut first, then columns go from the right, and the first one stays', () => {
  assert.deepEqual(lines(40), [
    'NAME  SIZE     STATE     WHERE',
    'db    10 GiB   attached  nbd+unix:///5d…',
    'logs  812 MiB  idle      ',
  ]);
  assert.deepEqual(lines(30), [
    'NAME  SIZE     STATE',
    'db    10 GiB   attached',
    'logs  812 MiB  idle',
  ]);
  assert.deepEqual(lines(20), ['NAME  SIZE', 'db    10 GiB', 'logs  812 MiB']);
  assert.deepEqual(lines(3), ['NA…', 'db', 'lo…']);
});

test('no line is wider than the terminal, whatever that is', () => {
  for (let width = 1; width < 100; width++) {
    for (const line of lines(width)) assert.ok(stringWidth(line) <= width, `${width}: "${line}"`);
  }
});

test('a column that is shown whole or not at all makes others go', () => {
  const columns: readonly Column[] = [
    { heading: 'ID', rank: 0, isWhole: true },
    { heading: 'STARTED', rank: 2, isWhole: true },
    { heading: 'HOW', rank: 1 },
  ];
  const rows = [
    ['38d5b88f-8866-4b66-bc7f-d3f91a6467c5', '2026-11-24T18:53:54.996Z', 'x'.repeat(30)],
  ];
  const [, line] = layOut(columns, rows, 60);
  assert.equal(line, `38d5b88f-8866-4b66-bc7f-d3f91a6467c5  ${'x'.repeat(21)}…`);
});

test('wide characters take two places, and none is cut in half', () => {
  const rows = [
    ['データベース', '1 GiB', 'idle', 'a'],
    ['e\u0301te\u0301', '1 GiB', 'idle', 'b'],
  ];
  const [, wide, narrow] = layOut(COLUMNS, rows, 100);
  assert.equal(wide, 'データベース  1 GiB  idle   a');
  assert.equal(narrow, 'e\u0301te\u0301           1 GiB  idle   b');
  assert.deepEqual(layOut(COLUMNS.slice(0, 1), [['データベース']], 8), ['NAME', 'データ…']);
});

test('what would move the cursor is not printed, and colors take no places', () => {
  const painted = { ...COLUMNS[0]!, paint: (text: string) => `\u001B[31m${text}\u001B[39m` };
  const rows = [['a\u001B[2Jb\nc', 'x']];
  assert.deepEqual(layOut([painted, COLUMNS[1]!], rows, 100), [
    'NAME      SIZE',
    '\u001B[31ma?[2Jb?c\u001B[39m  x',
  ]);
});

test('fields show as a question mark what would move the cursor', () => {
  assert.match(fields([['Owner', 'x\u001B[31m\nOwner']]), /Owner.*  x\?\[31m\?Owner$/);
});
