/** The use case of settings: those that are named change, the others stay. */

import { type Settings, checkSettings } from '../model/settings.ts';
import { endedOperation } from './operations.ts';
import type { ControlParts } from './parts.ts';
import { SETTINGS_KEY } from './records-store.ts';
import { operationPuts } from './request-keys.ts';

/** Changes them, in one transaction. Throws INPUT_INVALID. */
export function changeSettings(parts: ControlParts, changed: Partial<Settings>): Promise<Settings> {
  checkSettings(changed);
  const { records, turnstile, onStep } = parts;
  return turnstile.enter(SETTINGS_KEY, async () => {
    const record = { ...(await records.settings()), ...changed };
    const ended = endedOperation(parts, 'settings.change', SETTINGS_KEY);
    await records.change({ puts: [{ key: SETTINGS_KEY, record }, ...operationPuts(ended)] });
    onStep('settings.change: changed');
    return record;
  });
}
