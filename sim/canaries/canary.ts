/**
 * The canaries of drive-store.md, section 5: each breaks the store in one known way, and the simulator must say so. `find` occurs
 * exactly once in its file, or the canary has rotted.
 */

import type { Focus } from '../focus.ts';

export type Patch = { readonly file: string; readonly find: string; readonly replace: string };

export type Canary = {
  /** As numbered in drive-store.md; from 29 on, what came later; from 101 on, those of replication, from 201 those of placement. */
  readonly number: number;
  readonly name: string;
  /** The kind of history that finds it soonest. */
  readonly focus: Focus | 'replication' | 'small scope' | 'placement';
  readonly patches: readonly Patch[];
};

/** A patch of a file of the store. */
export const patch = (file: string, find: string, replace: string): Patch => ({
  file: `src/store/${file}`,
  find,
  replace,
});
