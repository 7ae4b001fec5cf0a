/** holdfast drive … */

import { resolve } from 'node:path';

import type { Command } from 'commander';

import type { DriveView } from '../../control/schemas.ts';
import { formatSize, formatSizeExact } from '../../model/sizes.ts';
import { addCommand, type Context, contextOf } from '../context.ts';
import { table } from '../output.ts';
import { readSize } from '../size-option.ts';
import { checkDriveCommand } from './drive-check.ts';
import { confirm } from '../confirm.ts';

/** Adds `holdfast drive` with its subcommands. */
export function addDriveCommands(program: Command): void {
  const drive = program
    .command('drive')
    .description('Drives: files or block devices that Holdfast may use');
  addCommand(drive, 'add <name>', {
    purpose: 'Formats and adds a drive: a file that is made, or an existing file or block device.',
    example: 'holdfast drive add fast --size 1GiB',
  })
    .option('--path <path>', 'a file or block device (default: a file in DIR/drives)')
    .option('--size <size>', 'for a new file')
    .option(
      '--sparse',
      'leave holes instead of writing the file in full: flushes then wait for the host file system',
    )
    .option('--force', 'format over what is there: it is lost')
    .action(
      async (
        name: string,
        options: { path?: string; size?: string; sparse?: boolean; force?: boolean },
        command: Command,
      ) => {
        const context = contextOf(command);
        const view = await addDrive(context, { name, ...options });
        const made = `Drive "${name}" of ${formatSizeExact(view.sizeBytes ?? 0)} at ${view.path}`;
        const warning = view.warning === null ? '' : `\nWarning: ${view.warning}`;
        context.output.result(view, `${made}${warning}`);
      },
    );
  addCommand(drive, 'ls', { purpose: 'Lists drives.', example: 'holdfast drive ls' }).action(
    async (_: object, command: Command) => {
      const { api, output } = contextOf(command);
      const drives = await api.get<DriveView[]>('/v1/drives');
      const size = (bytes: number | null): string => (bytes === null ? '?' : formatSize(bytes));
      const rows = drives.map((view) => [
        view.name,
        size(view.sizeBytes),
        size(view.usedBytes),
        size(view.freeBytes),
        view.reason === null ? view.state : `${view.state}: ${view.reason}`,
        view.path,
      ]);
      output.result(drives, table(['NAME', 'SIZE', 'USED', 'FREE', 'STATE', 'PATH'], rows));
    },
  );
  checkDriveCommand(drive);
  addCommand(drive, 'rm <name>', {
    purpose: 'Removes a drive that holds no volume. A file that Holdfast made is deleted.',
    example: 'holdfast drive rm fast --yes',
  })
    .option('--yes', 'do not ask; needed where there is no terminal')
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(options.yes === true, `Remove drive "${name}"?`);
      const view = await api.delete<{ removed: boolean }>(`/v1/drives/${encodeURIComponent(name)}`);
      output.result(
        view,
        view.removed ? `Drive "${name}" is removed` : `There was no drive "${name}"`,
      );
    });
}

/** Adds a drive, showing how far its formatting is. */
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
  const stop = showProgress(context, wish.name);
  try {
    return await context.api.post<DriveView>('/v1/drives', body);
  } finally {
    stop();
  }
}

const PROGRESS_MS = 500;

function showProgress({ api, output }: Context, name: string): () => void {
  if (output.kind !== 'text' || !process.stderr.isTTY) return () => undefined;
  const timer = setInterval(() => {
    api
      .get<DriveView>(`/v1/drives/${encodeURIComponent(name)}`)
      .then(({ progress }) => {
        if (progress === null) return;
        const percent = Math.floor((100 * progress.doneBytes) / progress.totalBytes);
        process.stderr.write(
          `\rFormatting drive "${name}": ${percent} % of ${formatSizeExact(progress.totalBytes)} `,
        );
      })
      .catch(() => undefined);
  }, PROGRESS_MS);
  return () => {
    clearInterval(timer);
    process.stderr.write('\r\u001B[K');
  };
}
