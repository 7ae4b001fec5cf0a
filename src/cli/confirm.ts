/** Questions before what destroys. */

import { Refusal } from '../model/errors.ts';

/** Asks on a terminal unless `sure`. Throws CONFIRMATION_MISSING where nobody can be asked: silence is no consent. */
export async function confirm(sure: boolean, question: string): Promise<void> {
  if (sure) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new Refusal('CONFIRMATION_MISSING', { question });
  }
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await lines.question(`${question} [y/N] `);
  lines.close();
  if (!/^y(es)?$/i.test(answer.trim()))
    throw new Refusal('INPUT_INVALID', { problem: 'nothing was changed' });
}
