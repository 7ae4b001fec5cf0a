/** holdfast drive … */

import { resolve } from 'node:path';

import type { Command } from 'commander';

import { similar } from '../../control/names.ts';
import type { DriveView } from '../../control/drive-schemas.ts';
import { formatSize, formatSizeExact } from '../../model/sizes.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, type Context, contextOf } from '../context.ts';
import { table } from '../output.ts';
import { readSize } from '../size-option.ts';
import { addWatch, show } from '../watch.ts';
import { checkDriveCommand } from './drive-check.ts';
import { addAdoption, addDriveServices, addReplacement } from './drive-changes.ts';

/** Adds `holdfast drive` with its subcommands. */
export function addDriveCommands(program: Command): void {
  const drive = program
    .command('drive')
    .description('Drives: files or block devices that Holdfast may use');
  addAddition(drive);
  addWatch(
    addCommand(drive, 'ls', { purpose: 'Lists drives.', example: 'holdfast drive ls' }),
  ).action(async (options: { watch?: boolean }, command: Command) => {
    const context = contextOf(command);
    await show(context, {
      watch: options.watch === true ? ['drive', 'volume'] : undefined,
      read: () => context.api.get<DriveView[]>('/v1/drives'),
      text: listInWords,
    });
  });
  addGrowth(drive);
  addDriveServices(drive);
  addReplacement(drive);
  addAdoption(drive);
  checkDriveCommand(drive);
  addYes(
    addCommand(drive, 'rm <name>', {
      purpose: 'Removes a drive that holds no volume. A file that Holdfast made is deleted.',
      example: 'holdfast drive rm fast --yes',
    }),
  ).action(async (name: string, options: { yes?: boolean }, command: Command) => {
    const { api, output } = contextOf(command);
    await confirm(
      options.yes === true,
      `Remove drive "${name}"? What was on it cannot be brought back: a file that Holdfast made is deleted.`,
    );
    const view = await api.delete<{ removed: boolean }>(`/v1/drives/${encodeURIComponent(name)}`);
    const drives = view.removed ? [] : await api.get<DriveView[]>('/v1/drives');
    const like = similar(
      name,
      drives.map((each) => each.name),
    );
    output.result(
      view,
      view.removed ? `Drive "${name}" is removed` : `There was no drive "${name}"${like}`,
    );
  });
}

type AddOptions = {
  readonly path?: string;
  readonly size?: string;
  readonly sparse?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
};

function addAddition(drive: Command): void {
  addYes(
    addCommand(drive, 'add <name>', {
      purpose:
        'Formats and adds a drive: a file that is made, or an existing file or block device.',
      example: 'holdfast drive add fast --size 1GiB',
    }),
  )
    .option('--path <path>', 'a file or block device (default: a file in DIR/drives)')
    .option('--size <size>', 'for a new file')
    .option(
      '--sparse',
      'leave holes instead of writing the file in full: flushes then wait for the host file system',
    )
    .option('--force', 'format over what is there: it is lost')
    .action(async (name: string, options: AddOptions, command: Command) => {
      const context = contextOf(command);
      await confirm(
        options.yes === true || options.force !== true,
        `Format ${options.path === undefined ? `the file of drive "${name}"` : `"${resolve(options.path)}"`}? Everything that it holds is lost, for good.`,
      );
      const view = await addDrive(context, { name, ...options });
      const made = `Drive "${name}" of ${formatSizeExact(view.sizeBytes ?? 0)} at ${view.path}`;
      const warning = view.warning === null ? '' : `\nWarning: ${view.warning}`;
      context.output.result(view, `${made}${warning}`);
    });
}

function addGrowth(drive: Command): void {
  addCommand(drive, 'grow <name>', {
    purpose: 'Makes a drive larger, while it is used: its file; a block device must have the size.',
    example: 'holdfast drive grow default --size 2GiB',
  })
    .requiredOption('--size <size>', 'the size that it is to have')
    .action(async (name: string, options: { size: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const sizeBytes = readSize(output, options.size);
      const path = `/v1/drives/${encodeURIComponent(name)}`;
      const view = await api.patch<DriveView>(path, { sizeBytes });
      const [size, free] = [view.sizeBytes ?? 0, view.freeBytes ?? 0];
      output.result(
        view,
        `Drive "${name}" has ${formatSizeExact(size)}, and ${formatSize(free)} free`,
      );
    });
}

function listInWords(drives: readonly DriveView[]): string {
  const size = (bytes: number | null): string => (bytes === null ? '?' : formatSize(bytes));
  const inCluster = drives.some(({ node }) => node !== null);
  const rows = drives.map((view) => [
    view.name,
    ...(inCluster ? [view.node ?? ''] : []),
    size(view.sizeBytes),
    size(view.usedBytes),
    size(view.freeBytes),
    ...(inCluster ? [String(view.replicas)] : []),
    stateOf(view),
    view.path,
  ]);
  const [node, replicas] = inCluster ? [['NODE'], ['REPLICAS']] : [[], []];
  return table(['NAME', ...node, 'SIZE', 'USED', 'FREE', ...replicas, 'STATE', 'PATH'], rows);
}

/** `open, draining`; `faulted: why`. */
function stateOf({ state, service, reason }: DriveView): string {
  const words = service === 'open' ? state : `${state}, ${service}`;
  return reason === null ? words : `${words}: ${reason}`;
}

/** Adds a drive. */
export async function addDrive(
  context: Context,
  wish: {
    readonly name: string;
    readonly path?: string;
    readonly size?: string;
    readonly sparse?: boolean;
    readonly force?: boolean;
  },
): Promise<DriveView> {
  const body = {
    name: wish.name,
    ...(wish.path === undefined ? {} : { path: resolve(wish.path) }),
    ...(wish.size === undefined ? {} : { sizeBytes: readSize(context.output, wish.size) }),
    sparse: wish.sparse === true,
    force: wish.force === true,
  };
  return context.api.post<DriveView>('/v1/drives', body);
}
