/** Asks before something is destroyed. */

import type { Command } from 'commander';

import { Refusal } from '../model/errors.ts';

/** The option that answers {@link confirm}. */
export function addYes(command: Command): Command {
  return command.option('--yes', 'do not ask; needed where there is no terminal');
}

/**
 * Asks on a terminal unless `sure`; `question` names what will be gone. Throws CONFIRMATION_MISSING where nobody can be asked: silence
 * is no consent.
 */
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
