/** What was promised against what is there. */

import type { Entry } from './journal.ts';

export type Comparison = {
  /** Commits that returned, as the journal has them. */
  readonly committed: number;
  /** Those of them that are there, intact. */
  readonly found: number;
  readonly lost: readonly Entry[];
};

/** `isThere` tells whether an entry is there with its content intact. */
export function compare(journal: readonly Entry[], isThere: (entry: Entry) => boolean): Comparison {
  const lost = journal.filter((entry) => !isThere(entry));
  return { committed: journal.length, found: journal.length - lost.length, lost };
}

/** The line that the tour is about. */
export function formatComparison({ committed, found, lost }: Comparison): string {
  return `committed ${committed}, found ${found}, lost ${lost.length}`;
}
