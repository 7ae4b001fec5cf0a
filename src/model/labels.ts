/** Labels: free words about a volume, for people and for selecting. `key=value`, or a key alone, whose value is empty. */

import { Refusal } from './errors.ts';
import type { Labels } from './records.ts';

export const LABEL_COUNT_MAX = 64;
const KEY = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$/;
const VALUE_LENGTH_MAX = 255;

/** Throws LABEL_INVALID. */
export function checkLabels(labels: Labels): void {
  const entries = Object.entries(labels);
  if (entries.length > LABEL_COUNT_MAX) {
    throw new Refusal('LABEL_INVALID', {
      label: `${entries.length} labels`,
      problem: `a volume has at most ${LABEL_COUNT_MAX}`,
    });
  }
  for (const [key, value] of entries) {
    const problem = problemOf(key, value);
    if (problem !== undefined) {
      const label = `${key}=${value}`.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, '?');
      throw new Refusal('LABEL_INVALID', { label, problem });
    }
  }
}

function problemOf(key: string, value: string): string | undefined {
  if (!KEY.test(key)) {
    return 'a key has 1 to 128 letters, digits, ".", "_", "/" and "-", and begins with a letter or a digit';
  }
  if (value.length > VALUE_LENGTH_MAX) return `a value has at most ${VALUE_LENGTH_MAX} characters`;
  if (/\p{Cc}/u.test(value)) return 'a value has no control characters';
  return undefined;
}

/** Reads `key=value` or `key`. Throws LABEL_INVALID. */
export function parseLabel(text: string): readonly [key: string, value: string] {
  const at = text.indexOf('=');
  const label = at < 0 ? ([text, ''] as const) : ([text.slice(0, at), text.slice(at + 1)] as const);
  checkLabels(Object.fromEntries([label]));
  return label;
}

/** Whether `labels` has each of `wanted`: `key=value` exactly, or `key` with any value. */
export function matchesLabels(labels: Labels, wanted: readonly string[]): boolean {
  return wanted.every((text) => {
    const [key, value] = parseLabel(text);
    if (!Object.hasOwn(labels, key)) return false;
    return !text.includes('=') || labels[key] === value;
  });
}
