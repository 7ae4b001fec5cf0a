/** holdfast explain. */

import type { Command } from 'commander';

import type { ExplanationView } from '../../control/schemas.ts';
import { addCommand, contextOf } from '../context.ts';

/** Adds the command to the program. */
export function addExplainCommands(program: Command): void {
  const explain = program
    .command('explain')
    .description('Tells why something is not as it should be.');
  addCommand(explain, 'volume <name>', {
    purpose:
      'Tells why a volume is not as it should be: from what is seen down to the cause, and what ends it.',
    example: 'holdfast explain volume db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const path = `/v1/volumes/${encodeURIComponent(name)}/explanation`;
    const explanation = await api.get<ExplanationView>(path);
    output.result(explanation, inWords(explanation));
  });
}

function inWords({ volume, isWell, findings }: ExplanationView): string {
  if (isWell) return `Volume "${volume}" is well`;
  return findings
    .map(({ chain, since, ends }) => {
      const [seen = '', ...causes] = chain;
      return [
        `${seen}${since === null ? '' : `, since ${since}`}`,
        ...causes.map((cause, depth) => `${'  '.repeat(depth + 1)}because ${cause}`),
        `  Ends: ${ends}`,
      ].join('\n');
    })
    .join('\n\n');
}
