/** holdfast explain. */

import type { Command } from 'commander';

import type { PlacementView } from '../../control/node-schemas.ts';
import type { ExplanationView } from '../../control/schemas.ts';
import { addCommand, contextOf } from '../context.ts';
import { table } from '../output.ts';

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
  addCommand(explain, 'placement <name>', {
    purpose:
      'Tells of each drive of the cluster why it would get a replica of a volume or not, if all were placed now.',
    example: 'holdfast explain placement db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const path = `/v1/volumes/${encodeURIComponent(name)}/placement`;
    const placement = await api.get<PlacementView>(path);
    output.result(placement, placementInWords(placement));
  });
}

function placementInWords({ drives, problem, helps }: PlacementView): string {
  const rows = drives.map((each) => [
    each.drive,
    each.node,
    each.hasReplica ? 'yes' : '',
    each.verdict,
    each.because,
  ]);
  const lines = [table(['DRIVE', 'NODE', 'REPLICA', 'VERDICT', 'BECAUSE'], rows)];
  if (problem !== null) lines.push('', `Not all have a place: ${problem}`);
  if (helps.length > 0) lines.push(...helps.map((help) => `  Enough: ${help}`));
  return lines.join('\n');
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
