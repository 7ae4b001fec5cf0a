/** What the rigs that compare servers in rounds take on their command line. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { UsageError } from '../../src/lib/count-option.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

/** The options as they were written; undefined: help was asked for, and printed. */
export function comparisonOptions(help: string) {
  const { values } = parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      rows: { type: 'string' },
      only: { type: 'string' },
      dir: { type: 'string', default: join(REPOSITORY, '.holdfast', 'bench') },
      assert: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (!values.help) return values;
  process.stdout.write(help);
  return undefined;
}

/** Those of `all` that a list separated by commas names; all of `otherwise` without a list. Throws UsageError. */
export function named<T>(
  list: string | undefined,
  {
    all,
    otherwise = all,
    nameOf,
  }: {
    readonly all: readonly T[];
    readonly otherwise?: readonly T[];
    readonly nameOf: (each: T) => string;
  },
): readonly T[] {
  if (list === undefined) return otherwise;
  return list.split(',').map((name) => {
    const found = all.find((each) => nameOf(each) === name);
    if (found === undefined) throw new UsageError(`Unknown name "${name}"; see --help`);
    return found;
  });
}
