import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Refusal } from './errors.ts';
import { describeRounding, formatSize, formatSizeExact, parseSize } from './sizes.ts';

test('parseSize reads powers of 1024, powers of 1000 and bare letters', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['10GiB', 10 * 2 ** 30],
    ['10G', 10 * 2 ** 30],
    ['10g', 10 * 2 ** 30],
    ['10gib', 10 * 2 ** 30],
    ['1.5GiB', 1.5 * 2 ** 30],
    ['0.5T', 2 ** 39],
    ['4096', 4096],
    ['4096B', 4096],
    ['4K', 4096],
    ['1 MiB', 2 ** 20],
    ['4PiB', 4 * 2 ** 50],
    // 10^10 is 2441406.25 blocks.
    ['10GB', 2441407 * 4096],
    ['4096000MB', 4096000 * 10 ** 6],
    ['10KB', 12_288],
    ['5000', 8192],
    ['1.5KiB', 4096],
  ];
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text);
});

test('what was rounded is told, in every unit', () => {
  for (const text of ['4096', '1GiB', '4096000MB']) {
    assert.equal(describeRounding(text), undefined);
  }
  assert.equal(
    describeRounding('10KB'),
    '10KB is 9.77 KiB (10000 bytes), no whole number of 4 KiB blocks: rounded up to 12 KiB',
  );
  assert.equal(
    describeRounding('10'),
    '10 is 10 B, no whole number of 4 KiB blocks: rounded up to 4 KiB',
  );
});

test('parseSize refuses junk and says what is wrong', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['', /not a number/],
    ['ten', /not a number/],
    ['10XB', /not a number/],
    ['10 iB', /not a number/],
    ['-1G', /not a number/],
    ['1e9', /not a number/],
    ['1,5G', /not a number/],
    ['0', /zero/],
    ['0GiB', /zero/],
    ['0.3B', /whole number of bytes/],
    ['5PiB', /more than 4 PiB/],
    ['9999999999999999P', /more than 4 PiB/],
    ['99999999999999999999', /not a number/],
  ];
  for (const [text, problem] of cases) {
    assert.throws(
      () => parseSize(text),
      (error: unknown) =>
        error instanceof Refusal && error.code === 'SIZE_INVALID' && problem.test(error.message),
      text,
    );
  }
});

test('parseSize reads back what formatSize wrote where it was exact', () => {
  for (const bytes of [4096, 2 ** 20, 10 * 2 ** 30, 1.5 * 2 ** 40]) {
    assert.equal(parseSize(formatSize(bytes)), bytes);
  }
});

test('formatSize keeps three digits and never prints 1024 of a unit', () => {
  const cases: readonly (readonly [number, string])[] = [
    [0, '0 B'],
    [812, '812 B'],
    [1536, '1.5 KiB'],
    [2 ** 30, '1 GiB'],
    [2 ** 30 - 1, '1 GiB'],
    [10000003072, '9.31 GiB'],
    [123 * 2 ** 30 + 2 ** 29, '124 GiB'],
  ];
  for (const [bytes, text] of cases) assert.equal(formatSize(bytes), text);
  assert.equal(formatSizeExact(10000003072), '9.31 GiB (10000003072 bytes)');
  assert.equal(formatSizeExact(2 ** 30), '1 GiB');
});
