/** Asks again and again, as a user whose cluster is ill would. */

import { setTimeout as sleep } from 'node:timers/promises';

import { ApiProblem } from '../../src/cli/api-client.ts';
import { Fault, Refusal } from '../../src/model/errors.ts';

const PAUSE_MS = 20;

/** Whether it is an answer of Holdfast's, and not a failure of the test. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof ApiProblem || error instanceof Refusal || error instanceof Fault;

/** Asks until it is not refused. `onRefused` is told of each time that it is; the last one is thrown after `limitMs`. */
export async function insist<Answer>(
  ask: () => Promise<Answer>,
  { limitMs, onRefused }: { limitMs: number; onRefused?: (error: unknown) => void },
): Promise<Answer> {
  for (const endAtMs = performance.now() + limitMs; ; await sleep(PAUSE_MS)) {
    try {
      return await ask();
    } catch (error) {
      if (!isRefusal(error) || performance.now() > endAtMs) throw error;
      onRefused?.(error);
    }
  }
}
