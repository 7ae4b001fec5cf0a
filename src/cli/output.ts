/** What commands print: JSON for programs, tables and lines for people. */

import { styleText } from 'node:util';

import { type Column, layOut, printable } from './table.ts';

export type OutputKind = 'text' | 'json';

export type Output = {
  readonly kind: OutputKind;
  /** Prints `value` as JSON, or `text` for people. */
  result(value: unknown, text: string): void;
  /** Something on the way to the result: on standard error, and only for people. */
  note(text: string): void;
  /** How far something is: one line over the one before, on a terminal alone. An empty one leaves nothing. */
  progress(text: string): void;
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
    progress(text) {
      if (kind !== 'text' || !process.stderr.isTTY) return;
      const places = process.stderr.columns - 1;
      process.stderr.write(`\r\u001B[K${text.slice(0, places)}`);
    },
  };
}

/** Says of `node` what is said on the way; its result is a part of another. */
export function saidOf(output: Output, node: string): Output {
  return {
    kind: output.kind,
    result: () => undefined,
    note: (text) => output.note(`Node ${node}: ${text}`),
    // Several nodes would write over each other.
    progress: () => undefined,
  };
}

/** Where nothing else is said, columns go from the right; the first and the state stay. */
export function table(
  headings: readonly (string | Column)[],
  rows: readonly (readonly string[])[],
): string {
  const columns = headings.map((each, index): Column => {
    if (typeof each !== 'string') return each;
    // What is wrong with something is to be seen beside its name, however narrow that is.
    return each === 'STATE'
      ? { heading: each, rank: 0, paint: paintState }
      : { heading: each, rank: index };
  });
  const width = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY;
  const [first = '', ...rest] = layOut(columns, rows, width);
  return [colored('bold', first), ...rest].join('\n');
}

type Style = 'bold' | 'green' | 'yellow' | 'red';

/** Colors on terminals alone; NO_COLOR and FORCE_COLOR decide otherwise. */
export function colored(
  style: Style,
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  return styleText(style, text, { stream });
}

const STATES: readonly (readonly [words: RegExp, style: Style])[] = [
  [/^(faulted|failed|dead|closed)/, 'red'],
  [/^(open|attached|running|done)/, 'green'],
  [/^(read-only|away|unknown|starting|adding|creating|removing)/, 'yellow'],
];

/** A state in the color that it has for people: good, bad, or on its way. */
function paintState(text: string, state: string): string {
  const style = STATES.find(([words]) => words.test(state))?.[1];
  return style === undefined ? text : colored(style, text);
}

/** Lines of `name   value`. */
export function fields(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs
    .map(([name, value]) => `${colored('bold', name.padEnd(width))}  ${printable(value)}`)
    .join('\n');
}
