/** holdfast volume resize, auto-grow, trim, rm: what a volume takes. */

import type { Command } from 'commander';

import type { RemovedVolumeView, SettingsView, VolumeView } from '../../control/schemas.ts';
import { similar } from '../../control/names.ts';
import { formatDuration } from '../../model/durations.ts';
import { Refusal } from '../../model/errors.ts';
import { formatSize, formatSizeExact } from '../../model/sizes.ts';
import type { ApiClient } from '../api-client.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf } from '../context.ts';
import type { Output } from '../output.ts';
import { readSize } from '../size-option.ts';

/** Where the API has a volume. */
export const volumePath = (name: string, rest = ''): string =>
  `/v1/volumes/${encodeURIComponent(name)}${rest}`;

/** Adds them to `holdfast volume`. */
export function addSpaceCommands(volume: Command): void {
  addCommand(volume, 'resize <name>', {
    purpose: 'Makes a volume larger, with the file system on it where it is mounted.',
    example: 'holdfast volume resize db --size 3GiB',
  })
    .requiredOption('--size <size>', 'its new size')
    .action(async (name: string, options: { size: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const view = await api.patch<VolumeView>(volumePath(name), {
        sizeBytes: readSize(output, options.size),
      });
      const later =
        view.mount?.growsAtNextMount === true
          ? `. Its file system grows at the next mount, since the kernel wants CAP_SYS_RESOURCE while it is mounted: holdfast volume unmount ${name}`
          : '';
      output.result(view, `Volume "${name}" has ${formatSizeExact(view.sizeBytes)}${later}`);
    });
  addCommand(volume, 'auto-grow <name>', {
    purpose: 'Lets a volume grow by itself, with its file system, whenever nine tenths are taken.',
    example: 'holdfast volume auto-grow db --step 1GiB --ceiling 10GiB',
  })
    .option('--step <size>', 'by how much')
    .option('--ceiling <size>', 'no larger than this')
    .option('--off', 'it does not grow by itself any more')
    .action(async (name: string, options: GrowOptions & { off?: true }, command: Command) => {
      const { api, output } = contextOf(command);
      const grows = autoGrowOf(output, options);
      if ((grows === undefined) !== (options.off === true)) {
        const problem = 'give --step and --ceiling, or --off';
        throw new Refusal('INPUT_INVALID', { problem });
      }
      const view = await api.patch<VolumeView>(volumePath(name), { autoGrow: grows ?? null });
      output.result(view, `Volume "${name}" grows by itself: ${growthInWords(view)}`);
    });
  addCommand(volume, 'trim <name>', {
    purpose: 'Gives back the space that the mounted file system of a volume no longer uses.',
    example: 'holdfast volume trim db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const before = await api.get<VolumeView>(volumePath(name));
    const view = await api.post<VolumeView>(volumePath(name, '/trim'), {});
    const freed = Math.max(0, (before.allocatedBytes ?? 0) - (view.allocatedBytes ?? 0));
    output.result(view, `Volume "${name}" is trimmed: ${formatSize(freed)} given back`);
  });
  addYes(
    addCommand(volume, 'rm <name>', {
      purpose:
        'Removes a volume that is not attached: into the trash, where it keeps its space for a while and can be restored.',
      example: 'holdfast volume rm db --yes',
    }),
  )
    .option('--now', 'at once and for good, with everything on it')
    .action(async (name: string, options: RemoveOptions, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(
        options.yes === true,
        options.now === true || (options.yes !== true && (await keepsNothing(api)))
          ? `Remove volume "${name}" for good? What is on it cannot be brought back.`
          : `Remove volume "${name}"? It can be restored until its time in the trash is over.`,
      );
      const query = options.now === true ? '?now=true' : '';
      const view = await api.delete<RemovedVolumeView>(volumePath(name, query));
      const volumes = view.removed ? [] : await api.list<VolumeView>('/v1/volumes');
      const names = volumes.map((each) => each.name);
      output.result(view, removedInWords(name, view) + similar(name, names));
    });
}

/** Whether what is removed is gone at once. */
async function keepsNothing(api: ApiClient): Promise<boolean> {
  const { trashRetentionMs } = await api.get<SettingsView>('/v1/settings');
  return trashRetentionMs === 0;
}

type RemoveOptions = { readonly now?: boolean; readonly yes?: boolean };

function removedInWords(name: string, { removed, trash }: RemovedVolumeView): string {
  if (!removed) return `There was no volume "${name}"`;
  if (trash === null) return `Volume "${name}" is removed`;
  const left = formatDuration(Date.parse(trash.purgeAt) - Date.now());
  return `Volume "${name}" is in the trash for ${left}: holdfast trash restore ${name}, or holdfast trash empty ${name}`;
}

export type GrowOptions = { readonly step?: string; readonly ceiling?: string };

/** Undefined without either. Throws INPUT_INVALID for one without the other. */
export function autoGrowOf(
  output: Output,
  { step, ceiling }: GrowOptions,
): VolumeView['autoGrow'] | undefined {
  if (step === undefined && ceiling === undefined) return undefined;
  if (step === undefined || ceiling === undefined) {
    throw new Refusal('INPUT_INVALID', { problem: '--step and --ceiling belong together' });
  }
  return { stepBytes: readSize(output, step), ceilingBytes: readSize(output, ceiling) };
}

/** The policy of a volume, in words. */
export const growthInWords = ({ autoGrow }: VolumeView): string =>
  autoGrow === null
    ? 'no'
    : `by ${formatSize(autoGrow.stepBytes)} up to ${formatSize(autoGrow.ceilingBytes)}`;
