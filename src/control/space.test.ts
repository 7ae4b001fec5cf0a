import assert from 'node:assert/strict';
import { test } from 'node:test';

import { alertLevel } from './space.ts';

test('a level is told when it is reached, and again only after the drive was emptier', () => {
  const levels = [80, 90];
  assert.equal(alertLevel(79, levels, 0), 0);
  assert.equal(alertLevel(80, levels, 0), 80);
  assert.equal(alertLevel(97, levels, 0), 90, 'of several the highest');
  assert.equal(alertLevel(90, levels, 80), 90);
  assert.equal(alertLevel(86, levels, 90), 90, 'a little emptier is still the same');
  assert.equal(alertLevel(85, levels, 90), 80);
  assert.equal(alertLevel(75, levels, 80), 0);
  assert.equal(alertLevel(99, [], 0), 0, 'no levels, no alerts');
});
