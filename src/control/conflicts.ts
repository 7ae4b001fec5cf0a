/** Decisions on records that another request, or another node, may change meanwhile. */

import { Fault, Refusal } from '../model/errors.ts';

/** Whether a transaction was refused since a record is another than the one on which it was decided. */
export const isConflict = (error: unknown): boolean =>
  error instanceof Refusal && error.code === 'STORE_CONFLICT';

/** Whether the store failed: what was to be changed in it may have been or not. */
export const isOfStore = (error: unknown): boolean =>
  error instanceof Fault && error.code.startsWith('STORE_');

/**
 * Runs `decide`, which reads records and writes on the versions that it read, and runs it anew where one had changed. What it does besides it may
 * do twice. Each conflict is another's commit, so that somebody gets on.
 */
export async function decideAgain<T>(decide: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await decide();
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
}
