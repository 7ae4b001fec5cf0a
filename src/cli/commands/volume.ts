/** holdfast volume … */

import { resolve } from 'node:path';

import { type Command, Option } from 'commander';

import type { VolumeView } from '../../control/schemas.ts';
import { Refusal } from '../../model/errors.ts';
import { formatSize, formatSizeExact } from '../../model/sizes.ts';
import { addCommand, contextOf } from '../context.ts';
import { readSize } from '../size-option.ts';
import { fields, table } from '../output.ts';

const path = (name: string, rest = ''): string => `/v1/volumes/${encodeURIComponent(name)}${rest}`;

/** Adds `holdfast volume` with its subcommands. */
export function addVolumeCommands(program: Command): void {
  const volume = program
    .command('volume')
    .description('Volumes: block devices for one application each');
  addCreateAndRemove(volume);
  addListing(volume);
  addAttaching(volume);
  addMounting(volume);
}

function addCreateAndRemove(volume: Command): void {
  addCommand(volume, 'create <name>', {
    purpose:
      'Creates a volume. It takes space only for what is written to it. The same again is the same volume.',
    example: 'holdfast volume create db --size 2GiB',
  })
    .requiredOption('--size <size>', 'its size: 10GiB, 10G (the same) or 10GB')
    .option('--drive <name>', 'the drive to put it on (default: the one with the most space)')
    .action(async (name: string, options: { size: string; drive?: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const body = {
        name,
        sizeBytes: readSize(output, options.size),
        ...(options.drive === undefined ? {} : { drive: options.drive }),
      };
      const made = await api.post<VolumeView>('/v1/volumes', body);
      output.result(
        made,
        `Volume "${name}" of ${formatSizeExact(made.sizeBytes)} on drive "${made.drive}"`,
      );
    });
  addCommand(volume, 'resize <name>', {
    purpose: 'Makes a volume larger, with the file system on it where it is mounted.',
    example: 'holdfast volume resize db --size 3GiB',
  })
    .requiredOption('--size <size>', 'its new size')
    .action(async (name: string, options: { size: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const view = await api.patch<VolumeView>(path(name), {
        sizeBytes: readSize(output, options.size),
      });
      const later =
        view.mount?.growsAtNextMount === true
          ? `. Its file system grows at the next mount, since the kernel wants CAP_SYS_RESOURCE while it is mounted: holdfast volume unmount ${name}`
          : '';
      output.result(view, `Volume "${name}" has ${formatSizeExact(view.sizeBytes)}${later}`);
    });
  addCommand(volume, 'rm <name>', {
    purpose: 'Removes a volume and everything on it. It must not be attached.',
    example: 'holdfast volume rm db --yes',
  })
    .option('--yes', 'do not ask; needed where there is no terminal')
    .action(async (name: string, options: { yes?: boolean }, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(options.yes === true, `Remove volume "${name}" and everything on it?`);
      const view = await api.delete<{ removed: boolean }>(path(name));
      output.result(
        view,
        view.removed ? `Volume "${name}" is removed` : `There was no volume "${name}"`,
      );
    });
}

/** Asks on a terminal unless `sure`. Throws CONFIRMATION_MISSING where nobody can be asked: silence is no consent. */
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

function addListing(volume: Command): void {
  addCommand(volume, 'ls', { purpose: 'Lists volumes.', example: 'holdfast volume ls' }).action(
    async (_: object, command: Command) => {
      const { api, output } = contextOf(command);
      const volumes = await api.get<VolumeView[]>('/v1/volumes');
      const rows = volumes.map((view) => [
        view.name,
        formatSize(view.sizeBytes),
        view.allocatedBytes === null ? '?' : formatSize(view.allocatedBytes),
        view.drive,
        view.state,
        view.mount?.path ?? view.attachment?.device ?? view.attachment?.uri ?? '',
      ]);
      output.result(volumes, table(['NAME', 'SIZE', 'ALLOCATED', 'DRIVE', 'STATE', 'WHERE'], rows));
    },
  );
  addCommand(volume, 'inspect <name>', {
    purpose: 'Shows all about one volume.',
    example: 'holdfast volume inspect db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.get<VolumeView>(path(name));
    output.result(view, describe(view));
  });
}

function describe(view: VolumeView): string {
  const pairs: [string, string][] = [
    ['Name', view.name],
    ['Id', view.id],
    ['Size', formatSizeExact(view.sizeBytes)],
    ['Allocated', view.allocatedBytes === null ? 'unknown' : formatSizeExact(view.allocatedBytes)],
    ['Drive', view.drive],
    ['State', view.reason === null ? view.state : `${view.state}: ${view.reason}`],
    ['Epoch', String(view.epoch)],
    ['Created', view.createdAt],
  ];
  const { attachment, mount } = view;
  if (attachment !== null) {
    pairs.push(
      ['Attached', `${attachment.state} as ${attachment.as}`],
      ['NBD', attachment.uri ?? ''],
    );
    if (attachment.device !== null) pairs.push(['Device', attachment.device]);
  }
  if (mount !== null) pairs.push(['Mount', `${mount.state}, ${mount.fs} at ${mount.path}`]);
  return fields(pairs);
}

function addAttaching(volume: Command): void {
  addCommand(volume, 'attach <name>', {
    purpose:
      'Attaches a volume: as a block device, or with --nbd as an NBD server on a unix socket alone.',
    example: 'holdfast volume attach db --nbd',
  })
    .option('--nbd', 'no block device: print the URI for NBD clients')
    .action(async (name: string, options: { nbd?: boolean }, command: Command) => {
      const { api, output } = contextOf(command);
      const as = options.nbd === true ? 'nbd' : 'device';
      const { attachment } = await api.put<VolumeView>(path(name, '/attachment'), { as });
      const { uri = '', device = null, attachId = '' } = attachment ?? {};
      const value = device === null ? { uri, attachId } : { uri, device, attachId };
      output.result(value, device ?? uri ?? '');
    });
  addCommand(volume, 'detach <name>', {
    purpose: 'Detaches a volume after what is under way is done and on media.',
    example: 'holdfast volume detach db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.delete<VolumeView>(path(name, '/attachment'));
    output.result(view, `Volume "${name}" is detached`);
  });
}

function addMounting(volume: Command): void {
  addCommand(volume, 'mount <name>', {
    purpose:
      'Attaches a volume, makes a file system on it if it is blank, checks it, and mounts it.',
    example: 'holdfast volume mount db --fs ext4',
  })
    .addOption(
      new Option('--fs <type>', 'its file system').choices(['ext4', 'xfs']).default('ext4'),
    )
    .option('--at <path>', 'where (default: DIR/mnt/NAME)')
    .option('--force', 'make the file system though there is another: what it holds is lost')
    .action(
      async (
        name: string,
        options: { fs: string; at?: string; force?: boolean },
        command: Command,
      ) => {
        const { api, output } = contextOf(command);
        const body = {
          fs: options.fs,
          ...(options.at === undefined ? {} : { path: resolve(options.at) }),
          force: options.force === true,
        };
        const view = await api.put<VolumeView>(path(name, '/mount'), body);
        output.result(
          view,
          `Volume "${name}" is mounted at ${view.mount?.path ?? ''} (${view.mount?.fs ?? ''})`,
        );
      },
    );
  addCommand(volume, 'unmount <name>', {
    purpose: 'Unmounts a volume, and detaches it if the mount attached it.',
    example: 'holdfast volume unmount db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.delete<VolumeView>(path(name, '/mount'));
    output.result(view, `Volume "${name}" is unmounted`);
  });
}
