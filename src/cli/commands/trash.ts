/** holdfast trash … */

import type { Command } from 'commander';

import type { TrashedView, VolumeView } from '../../control/schemas.ts';
import { formatDuration } from '../../model/durations.ts';
import { formatSize } from '../../model/sizes.ts';
import { addCommand, contextOf } from '../context.ts';
import { table } from '../output.ts';
import { addWatch, show } from '../watch.ts';
import { addYes, confirm } from '../confirm.ts';

/** Adds `holdfast trash` with its subcommands. */
export function addTrashCommands(program: Command): void {
  const trash = program
    .command('trash')
    .description('Removed volumes, which can be restored until their time is over');
  addWatch(
    addCommand(trash, 'ls', {
      purpose: 'Lists removed volumes, the last one first.',
      example: 'holdfast trash ls',
    }),
  ).action(async (options: { watch?: boolean }, command: Command) => {
    const context = contextOf(command);
    await show(context, {
      watch: options.watch === true ? ['trash'] : undefined,
      read: () => context.api.get<TrashedView[]>('/v1/trash'),
      text: inWords,
    });
  });
  addCommand(trash, 'restore <name>', {
    purpose: 'Restores a removed volume as it was; of several of that name the last one.',
    example: 'holdfast trash restore db --as db-before',
  })
    .option('--as <name>', 'under another name')
    .action(async (name: string, options: { as?: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const { id } = await find(api, name);
      const body = options.as === undefined ? {} : { name: options.as };
      const view = await api.post<VolumeView>(`/v1/trash/${id}/restore`, body);
      output.result(view, `Volume "${view.name}" is restored`);
    });
  addYes(
    addCommand(trash, 'empty [names...]', {
      purpose: 'Removes volumes from the trash for good: all, or those that are named.',
      example: 'holdfast trash empty --yes',
    }),
  ).action(async (names: readonly string[], options: { yes?: boolean }, command: Command) => {
    const { api, output } = contextOf(command);
    const which =
      names.length === 0 ? 'everything in the trash' : names.map((name) => `"${name}"`).join(', ');
    await confirm(
      options.yes === true,
      `Remove ${which} for good? What is on it cannot be brought back.`,
    );
    let purged = 0;
    if (names.length === 0) ({ purged } = await api.delete<{ purged: number }>('/v1/trash'));
    for (const name of names) {
      const { id } = await find(api, name);
      const { removed } = await api.delete<{ removed: boolean }>(`/v1/trash/${id}`);
      purged += removed ? 1 : 0;
    }
    output.result({ purged }, `Removed for good: ${purged}`);
  });
}

/** By name or id. Throws TRASH_NOT_FOUND. */
function find(api: ReturnType<typeof contextOf>['api'], name: string): Promise<TrashedView> {
  return api.get<TrashedView>(`/v1/trash/${encodeURIComponent(name)}`);
}

function inWords(volumes: readonly TrashedView[]): string {
  const nowMs = Date.now();
  const rows = volumes.map((view) => [
    view.name,
    view.allocatedBytes === null ? '?' : formatSize(view.allocatedBytes),
    view.drive,
    `${formatDuration(nowMs - Date.parse(view.removedAt))} ago`,
    view.state === 'kept' ? `in ${formatDuration(Date.parse(view.purgeAt) - nowMs)}` : 'now',
    view.id,
  ]);
  return table(['NAME', 'RECLAIMABLE', 'DRIVE', 'REMOVED', 'GONE FOR GOOD', 'ID'], rows);
}
