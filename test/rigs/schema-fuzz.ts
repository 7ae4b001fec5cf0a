/** Values for JSON schemas: mostly such as fit, and mutations of them that mostly do not. */

import type { Prng } from '../../src/lib/prng.ts';

export type Schema = {
  readonly type?: string;
  readonly anyOf?: readonly Schema[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly pattern?: string;
};

/** Few, so that requests meet each other's results. */
const NAMES = ['a', 'b', 'c', 'fast'] as const;
const PATHS = ['/nowhere/x', '/tmp', '/dev/null', '/proc/self/mem', '/'] as const;
const MIB = 2 ** 20;

const ODD: readonly unknown[] = [
  null,
  true,
  '',
  ' ',
  'A'.repeat(64),
  'ä',
  '../../etc',
  'a/b',
  '-x',
  '\0',
  '\u2028',
  '__proto__',
  '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11',
  0,
  -1,
  1,
  1.5,
  4095,
  4096,
  2 ** 53,
  1e308,
  [],
  {},
  [{}],
  { toString: 1 },
  'x'.repeat(10_000),
];

const pick = <T>(prng: Prng, values: readonly T[]): T => values[prng.below(values.length)]!;

/** A value that fits `schema`; `name` is the field's. */
export function valueFor(prng: Prng, schema: Schema, name = ''): unknown {
  if (schema.const !== undefined) return schema.const;
  if (schema.enum !== undefined) return pick(prng, schema.enum);
  if (schema.anyOf !== undefined) return valueFor(prng, pick(prng, schema.anyOf), name);
  if (schema.type === 'object') {
    const entries = Object.entries(schema.properties ?? {}).filter(
      ([key]) => schema.required?.includes(key) === true || prng.below(3) === 0,
    );
    return Object.fromEntries(entries.map(([key, inner]) => [key, valueFor(prng, inner, key)]));
  }
  if (schema.type === 'integer') return (1 + prng.below(4)) * 64 * MIB;
  if (schema.type === 'boolean') return prng.below(2) === 1;
  return pick(prng, name === 'path' ? PATHS : NAMES);
}

/** `value` with one thing wrong in it, or something else altogether. */
export function mutated(prng: Prng, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || prng.below(8) === 0) return pick(prng, ODD);
  const fields: Record<string, unknown> = { ...value };
  const keys = Object.keys(fields);
  const key = keys.length === 0 ? 'extra' : pick(prng, keys);
  switch (prng.below(4)) {
    case 0:
      delete fields[key];
      break;
    case 1:
      fields['extra'] = pick(prng, ODD);
      break;
    default:
      fields[key] = pick(prng, ODD);
  }
  return fields;
}

/** A segment of a URL for a path parameter: one of the names, or something odd, encoded or not. */
export function segmentFor(prng: Prng): string {
  if (prng.below(5) > 0) return pick(prng, NAMES);
  const odd = pick(prng, ODD);
  const text = typeof odd === 'string' ? odd : JSON.stringify(odd);
  return prng.below(4) === 0 ? '%zz' : encodeURIComponent(text);
}

/** A query of some of the parameters: values that fit, odd ones, and now and then a parameter that there is not. */
export function queryText(prng: Prng, parameters: Readonly<Record<string, Schema>>): string {
  const words = new URLSearchParams();
  for (const [name, schema] of Object.entries(parameters)) {
    if (prng.below(3) > 0) continue;
    const count = schema.type === 'array' ? 1 + prng.below(3) : 1;
    for (let at = 0; at < count; at++) {
      const value = prng.below(4) === 0 ? pick(prng, ODD) : valueFor(prng, schema.items ?? schema);
      words.append(name, typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
    }
  }
  if (prng.below(20) === 0) words.append('extra', 'x');
  return words.toString();
}

/** The text of a body: JSON, or what is none. */
export function bodyText(prng: Prng, value: unknown): string {
  const text = JSON.stringify(value) ?? '';
  if (prng.below(20) > 0) return text;
  return pick(prng, [
    '',
    '{',
    'null',
    '"',
    text.slice(1),
    `${text}x`,
    '[[[[',
    '{"name":"a","name":"b"}',
  ]);
}
