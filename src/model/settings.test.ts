import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DEFAULT_SETTINGS, checkSettings } from './settings.ts';

test('alert levels ascend', () => {
  checkSettings(DEFAULT_SETTINGS);
  checkSettings({});
  checkSettings({ driveAlertPercents: [] });
  for (const levels of [
    [90, 80],
    [80, 80],
  ]) {
    assert.throws(() => checkSettings({ driveAlertPercents: levels }), /do not/);
  }
});
