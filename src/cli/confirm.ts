/** Asks before something is destroyed. */

import type { Command } from 'commander';

import { Refusal } from '../model/errors.ts';

/** The option that answers {@link confirm}. */
export function addYes(command: Command): Command {
  return command.option('--yes', 'do not ask; needed where there is no terminal');
}

/**
 * Asks on a terminal unless `sure`; `question` names what will be gone. Throws CONFIRMATION_REFUSED at any answer but yes, and
 * CONFIRMATION_MISSING where nobody can be asked: silence is no consent.
 */
export async function confirm(sure: boolean, question: string): Promise<void> {
  if (sure) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw new Refusal('CONFIRMATION_MISSING', { question });
  }
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and Ctrl-D are a no.
  const answer = await lines.question(`${question} [y/N] `).catch(() => '\n');
  lines.close();
  if (/^y(es)?$/i.test(answer.trim())) return;
  if (answer === '\n') process.stderr.write(answer);
  throw new Refusal('CONFIRMATION_REFUSED');
}
