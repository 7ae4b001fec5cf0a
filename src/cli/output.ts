/** What commands print: JSON for programs, tables and lines for people. */

import { stripVTControlCharacters } from 'node:util';

export type OutputKind = 'text' | 'json';

export type Output = {
  readonly kind: OutputKind;
  /** Prints `value` as JSON, or `text` for people. */
  result(value: unknown, text: string): void;
  /** Something on the way to the result: on standard error, and only for people. */
  note(text: string): void;
};

/** Output on standard output, of the kind that the user asked for. */
export function openOutput(kind: OutputKind): Output {
  return {
    kind,
    result(value, text) {
      process.stdout.write(
        kind === 'json' ? `${JSON.stringify(value, undefined, 2)}\n` : `${text}\n`,
      );
    },
    note(text) {
      if (kind === 'text') process.stderr.write(`${text}\n`);
    },
  };
}

/** A table whose columns are as wide as they must be; the last ones are cut where the terminal is too narrow. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, column) =>
    Math.max(
      heading.length,
      ...rows.map((row) => stripVTControlCharacters(row[column] ?? '').length),
    ),
  );
  const width = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .slice(0, width);
  return [line(headings), ...rows.map(line)].join('\n');
}

/** Lines of `name   value`. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
}
