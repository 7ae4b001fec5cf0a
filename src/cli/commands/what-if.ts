/** holdfast what-if … */

import { type Command, Option } from 'commander';

import type { EffectView } from '../../control/node-schemas.ts';
import { addCommand, contextOf } from '../context.ts';
import { table } from '../output.ts';

/** Adds `holdfast what-if` with its subcommands. */
export function addWhatIfCommands(program: Command): void {
  const whatIf = program
    .command('what-if')
    .description('Tells what would become of the volumes, before you do it');
  addEvent(whatIf, 'lose', {
    purpose:
      'Tells which volumes would stop or lose redundancy if a node, or all nodes of a rack or zone, did not come back.',
    nothing: (place) => `No volume would notice: none has anything in ${place}`,
  });
  addEvent(whatIf, 'drain', {
    purpose:
      'Tells where the replicas of a node, or of all nodes of a rack or zone, would go, and which volumes hinder it.',
    nothing: (place) => `There is nothing to move: no volume has anything in ${place}`,
  });
}

function addEvent(
  parent: Command,
  event: 'lose' | 'drain',
  about: { readonly purpose: string; readonly nothing: (place: string) => string },
): void {
  addCommand(parent, `${event} <name>`, {
    purpose: about.purpose,
    example: `holdfast what-if ${event} b`,
  })
    .addOption(
      new Option('--level <level>', 'what <name> is (default: node); a rack is ZONE/RACK').choices([
        'zone',
        'rack',
        'node',
      ]),
    )
    .action(async (name: string, options: { level?: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const { level = 'node' } = options;
      const query = new URLSearchParams({ event, level, domain: name });
      const effects = await api.get<EffectView[]>(`/v1/what-if?${query}`);
      const text = effects.length > 0 ? inWords(effects) : about.nothing(`${level} "${name}"`);
      output.result(effects, text);
    });
}

function inWords(effects: readonly EffectView[]): string {
  const rows = effects.map((effect) => [
    effect.volume,
    effect.outcome,
    `${effect.copiesNow} to ${effect.copiesThen} of ${effect.replicas}`,
    effect.attachedThere ? 'there' : '',
    effect.newDrives.join(', ') || '-',
    effect.held ?? '',
  ]);
  return table(['VOLUME', 'OUTCOME', 'COPIES', 'ATTACHED', 'NEW DRIVES', 'HINDERED'], rows);
}
