/** holdfast settings … */

import type { Command } from 'commander';

import type { SettingsView } from '../../control/schemas.ts';
import { durationInWords, parseDuration } from '../../model/durations.ts';
import { Refusal } from '../../model/errors.ts';
import { addCommand, contextOf } from '../context.ts';
import { fields } from '../output.ts';

/** Adds `holdfast settings` with its subcommands. */
export function addSettingsCommands(program: Command): void {
  const settings = program
    .command('settings')
    .description('What holds for the whole installation: trash, limits, alerts');
  addCommand(settings, 'show', {
    purpose: 'Shows the settings.',
    example: 'holdfast settings show',
  }).action(async (_: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.get<SettingsView>('/v1/settings');
    output.result(view, inWords(view));
  });
  addCommand(settings, 'set <words...>', {
    purpose:
      'Changes settings: trash-retention=48h, overprovision=500% or none, drive-alerts=80,95.',
    example: 'holdfast settings set trash-retention=48h overprovision=none',
  }).action(async (words: readonly string[], _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const changed = Object.assign({}, ...words.map(parse)) as Partial<SettingsView>;
    const view = await api.patch<SettingsView>('/v1/settings', changed);
    output.result(view, inWords(view));
  });
}

function inWords(view: SettingsView): string {
  const { trashRetentionMs, overprovisionPercent, driveAlertPercents } = view;
  return fields([
    ['trash-retention', trashRetentionMs === 0 ? 'none' : durationInWords(trashRetentionMs)],
    ['overprovision', overprovisionPercent === null ? 'none' : `${overprovisionPercent}%`],
    ['drive-alerts', driveAlertPercents.join(',') || 'none'],
  ]);
}

/** `name=value` as a part of the request. Throws INPUT_INVALID, DURATION_INVALID. */
function parse(word: string): Partial<SettingsView> {
  const at = word.indexOf('=');
  const value = word.slice(at + 1);
  switch (word.slice(0, Math.max(at, 0))) {
    case 'trash-retention':
      return { trashRetentionMs: value === 'none' ? 0 : parseDuration(value) };
    case 'overprovision':
      return { overprovisionPercent: value === 'none' ? null : percent(value) };
    case 'drive-alerts':
      return { driveAlertPercents: value === 'none' ? [] : value.split(',').map(percent) };
    default:
      throw new Refusal('INPUT_INVALID', {
        problem: `"${word}" sets nothing: write trash-retention=, overprovision= or drive-alerts=`,
      });
  }
}

function percent(text: string): number {
  const [, digits] = /^(\d{1,7})%?$/.exec(text.trim()) ?? [];
  if (digits === undefined) {
    throw new Refusal('INPUT_INVALID', { problem: `"${text}" is no percentage` });
  }
  return Number(digits);
}
