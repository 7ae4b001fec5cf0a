/** Reads fields of JSON that others wrote, and says which one is wrong. */

export function optionalField(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, name);
  return found;
}

/** A field by its path, `a.b.0.c`. Throws with the name if it is missing. */
export function field(value: unknown, path: string): unknown {
  let found = value;
  for (const name of path.split('.')) found = optionalField(found, name);
  if (found === undefined) {
    throw new Error(`"${path}" is missing in ${JSON.stringify(value).slice(0, 500)}`);
  }
  return found;
}

export function textField(value: unknown, path: string): string {
  const found = field(value, path);
  if (typeof found !== 'string')
    throw new Error(`"${path}" is not a text: ${JSON.stringify(found)}`);
  return found;
}

export function numberField(value: unknown, path: string): number {
  const found = field(value, path);
  if (typeof found !== 'number')
    throw new Error(`"${path}" is no number: ${JSON.stringify(found)}`);
  return found;
}

/** A list, empty if the field is missing. */
export function listField(value: unknown, path: string): unknown[] {
  const found = optionalField(value, path);
  return Array.isArray(found) ? found : [];
}

/** The numbers among an object's fields. */
export function numberFields(value: unknown): Record<string, number> {
  if (typeof value !== 'object' || value === null) return {};
  const pairs: [string, unknown][] = Object.entries(value);
  return Object.fromEntries(
    pairs.filter((pair): pair is [string, number] => typeof pair[1] === 'number'),
  );
}
