/** Requests that do not fit their schema, in words: the rule, and the value that breaks it. */

import type { FastifyError, FastifyRequest } from 'fastify';

import { BLOCK_BYTES } from '../model/block-target.ts';
import { Refusal } from '../model/errors.ts';
import { checkName } from '../model/ids.ts';
import { SIZE_BYTES_MAX, formatSize } from '../model/sizes.ts';

/** The part of a request that did not fit, by what Fastify calls it. */
const PARTS = {
  body: 'body',
  params: 'params',
  querystring: 'query',
  headers: 'headers',
} as const;
const VALUE_LENGTH_MAX = 80;

/** The refusal of a request that did not fit its schema; undefined where `error` is something else. */
export function refusalOfInput(error: Error, request: FastifyRequest): Refusal | undefined {
  const { validation, validationContext } = error as Partial<FastifyError>;
  const [first] = validation ?? [];
  if (first === undefined || validationContext === undefined) return undefined;
  const { instancePath, keyword } = first;
  const path = instancePath.split('/').slice(1).map(unescapePointer);
  const value = valueAt(request[PARTS[validationContext]], path);
  const field = path.at(-1);
  if (field === 'name' || field === 'drive') {
    const refusal = refusalOfName(value);
    if (refusal !== undefined) return refusal;
  }
  if (field === 'sizeBytes' && typeof value === 'number') return refusalOfSize(value);
  // Of a schema that allows no other properties: TypeBox says "schema is false".
  if (keyword === 'boolean') {
    const problem = `there is no "${path.join('.')}" in its ${PARTS[validationContext]}${knownIn(request, validationContext)}`;
    return new Refusal('INPUT_INVALID', { problem });
  }
  const choices = (validation ?? []).filter((each) => each.keyword === 'const');
  const message =
    keyword === 'const'
      ? `must be ${choices.map(({ params }) => JSON.stringify(params['allowedValue'])).join(' or ')}`
      : (first.message ?? 'is not valid');
  const where = path.length === 0 ? `its ${PARTS[validationContext]}` : `"${path.join('.')}"`;
  const shown = path.length === 0 || value === undefined ? '' : ` is ${inWords(value)}, and it`;
  return new Refusal('INPUT_INVALID', { problem: `${where}${shown} ${message}` });
}

/** What that part of a request may have, as the end of a sentence. */
function knownIn({ routeOptions }: FastifyRequest, context: keyof typeof PARTS): string {
  const schema = routeOptions.schema?.[context] as { readonly properties?: object } | undefined;
  const names = Object.keys(schema?.properties ?? {});
  return names.length === 0 ? '' : `: it may have ${names.join(', ')}`;
}

/** JSON Pointer, RFC 6901. */
const unescapePointer = (word: string): string => word.replaceAll('~1', '/').replaceAll('~0', '~');

function valueAt(part: unknown, path: readonly string[]): unknown {
  let value = part;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name))
      return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return value;
}

function refusalOfName(value: unknown): Refusal | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    checkName(value);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function refusalOfSize(sizeBytes: number): Refusal {
  const least = formatSize(BLOCK_BYTES);
  const most = formatSize(SIZE_BYTES_MAX);
  const problem = `it is no whole number of blocks of ${least}, from ${least} to ${most}`;
  return new Refusal('SIZE_INVALID', { size: `${sizeBytes} bytes`, problem });
}

function inWords(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value);
  } catch (error) {
    // What was parsed is nested more deeply than can be written again.
    if (error instanceof RangeError) return 'nested too deeply';
    throw error;
  }
  return text.length > VALUE_LENGTH_MAX ? `${text.slice(0, VALUE_LENGTH_MAX - 3)}...` : text;
}
