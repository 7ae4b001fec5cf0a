/** Rows of the table of errors (errors.ts): nodes of a cluster. */

import { type ErrorRow, row } from './error-row.ts';

export const NODE = {
  NODE_INVALID: row(
    500,
    'never',
    'Cannot tell which node of a cluster this is: "{file}": {problem}',
    {
      wayOut: 'docs/cluster.md has what a node keeps of itself ("One node on disk")',
    },
  ),
} as const satisfies Record<string, ErrorRow>;
