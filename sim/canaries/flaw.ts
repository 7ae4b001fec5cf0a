import type { Patch } from './canary.ts';

/** Something wrong in the replication, or in what it relies on. */
export type Flaw = { readonly name: string; readonly patches: readonly Patch[] };

/** A patch of src/replication. */
export const patch = (file: string, find: string, replace: string): Patch => ({
  file: `src/replication/${file}`,
  find,
  replace,
});

/** A patch of what the simulator makes in place of the real thing. */
export const inSimulator = (file: string, find: string, replace: string): Patch => ({
  file: `sim/replication/${file}`,
  find,
  replace,
});
