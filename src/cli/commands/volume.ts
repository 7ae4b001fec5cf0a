/** holdfast volume … */

import { resolve } from 'node:path';

import { type Command, Option } from 'commander';

import { shortHolder } from '../../control/mount-holders.ts';
import type { VolumeView } from '../../control/schemas.ts';
import { formatDuration, parseDuration } from '../../model/durations.ts';
import { parseLabel } from '../../model/labels.ts';
import { formatSize, formatSizeExact } from '../../model/sizes.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf } from '../context.ts';
import { readSize } from '../size-option.ts';
import { fields, table } from '../output.ts';
import {
  addReplicaCommands,
  drivesOf,
  onNode,
  placesInWords,
  replicasOf,
} from './volume-replicas.ts';
import { addWatch, show } from '../watch.ts';
import {
  type GrowOptions,
  addSpaceCommands,
  autoGrowOf,
  growthInWords,
  volumePath,
} from './volume-space.ts';

/** Adds `holdfast volume` with its subcommands. */
export function addVolumeCommands(program: Command): void {
  const volume = program
    .command('volume')
    .description('Volumes: block devices for one application each');
  addCreate(volume);
  addSpaceCommands(volume);
  addLabelling(volume);
  addListing(volume);
  addAttaching(volume);
  addMounting(volume);
  addReplicaCommands(volume);
}

function addCreate(volume: Command): void {
  addCommand(volume, 'create <name>', {
    purpose:
      'Creates a volume. It takes space only for what is written to it. The same again is the same volume.',
    example: 'holdfast volume create db --size 2GiB',
  })
    .requiredOption('--size <size>', 'its size: 10GiB, 10G (the same) or 10GB')
    .option('--drive <name>', 'the drive to put it on (default: the one with the most space)')
    .option('--replicas <count>', 'full copies on so many nodes of a cluster: 1 to 5 (default: 3)')
    .addOption(
      new Option('--spread <level>', 'never two replicas in one (default: node)').choices([
        'zone',
        'rack',
        'node',
      ]),
    )
    .option('--soft-spread', 'as few in one as possible, where there are too few of them')
    .option('--local', 'one replica on the node that is asked')
    .option('--tenant <name>', 'whose it is, in the words of your platform')
    .option('--group <name>', 'the application that it belongs to')
    .addOption(labelOption('--label <key=value>', 'a word about it; may be repeated'))
    .option('--step <size>', 'grow by so much whenever nine tenths are taken (with --ceiling)')
    .option('--ceiling <size>', 'and no larger than this')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const { api, output } = contextOf(command);
      const { drive, tenant, group, label = [] } = options;
      const hasOwner = tenant !== undefined || group !== undefined;
      const grows = autoGrowOf(output, options);
      const body = {
        name,
        sizeBytes: readSize(output, options.size),
        ...(grows === undefined ? {} : { autoGrow: grows }),
        ...(drive === undefined ? {} : { drive }),
        ...replicasOf(options),
        ...(hasOwner ? { owner: { tenant, group } } : {}),
        ...(label.length > 0 ? { labels: Object.fromEntries(label.map(parseLabel)) } : {}),
      };
      const made = await api.post<VolumeView>('/v1/volumes', body);
      output.result(
        made,
        `Volume "${name}" of ${formatSizeExact(made.sizeBytes)} ${placesInWords(made)}`,
      );
    });
}

type CreateOptions = GrowOptions & {
  readonly size: string;
  readonly drive?: string;
  readonly replicas?: string;
  readonly spread?: string;
  readonly softSpread?: boolean;
  readonly local?: boolean;
  readonly tenant?: string;
  readonly group?: string;
  readonly label?: readonly string[];
};

/** An option that may be repeated, whose values are labels. */
function labelOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string, before: string[] | undefined) => [
    ...(before ?? []),
    text,
  ]);
}

function addLabelling(volume: Command): void {
  addCommand(volume, 'label <name> <labels...>', {
    purpose: 'Labels a volume: key=value sets a label, key- takes it away.',
    example: 'holdfast volume label db app=shop tier=',
  }).action(async (name: string, words: readonly string[], _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const labels = Object.fromEntries(
      words.map((word) =>
        word.endsWith('-') && !word.includes('=') ? [word.slice(0, -1), null] : parseLabel(word),
      ),
    );
    const view = await api.patch<VolumeView>(volumePath(name), { labels });
    output.result(view, `Volume "${name}" has the labels: ${labelsInWords(view) || 'none'}`);
  });
}

const labelsInWords = (view: Pick<VolumeView, 'labels'>): string =>
  Object.entries(view.labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(', ');

const ownerInWords = ({ owner }: Pick<VolumeView, 'owner'>): string =>
  [owner.tenant, owner.group].filter((word) => word !== null).join('/');

type ListOptions = {
  readonly unusedFor?: string;
  readonly tenant?: string;
  readonly label?: readonly string[];
  readonly watch?: boolean;
};

function addListing(volume: Command): void {
  addWatch(
    addCommand(volume, 'ls', {
      purpose: 'Lists volumes: all, or those of a tenant, with labels, or that nobody uses.',
      example: 'holdfast volume ls --unused-for 30d',
    }),
  )
    .option('--unused-for <time>', 'neither attached nor written for so long: 30d, 12h, 45m')
    .option('--tenant <name>', 'of this tenant')
    .addOption(labelOption('--label <key=value>', 'with this label, or key alone; may be repeated'))
    .action(async (options: ListOptions, command: Command) => {
      const context = contextOf(command);
      const query = new URLSearchParams();
      if (options.tenant !== undefined) query.set('tenant', options.tenant);
      for (const label of options.label ?? []) query.append('label', label);
      const { unusedFor } = options;
      if (unusedFor !== undefined) query.set('unusedForMs', String(parseDuration(unusedFor)));
      if (context.output.kind === 'text') {
        const shown = unusedFor === undefined ? IN_USE_FIELDS : UNUSED_FIELDS;
        for (const field of shown) query.append('field', field);
      }
      await show(context, {
        watch: options.watch === true ? ['volume'] : undefined,
        read: () => context.api.list<VolumeView>(`/v1/volumes?${query.toString()}`),
        text: (volumes) => (unusedFor === undefined ? inUse(volumes) : unused(volumes, unusedFor)),
      });
    });
  addCommand(volume, 'inspect <name>', {
    purpose: 'Shows all about one volume.',
    example: 'holdfast volume inspect db',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.get<VolumeView>(volumePath(name));
    output.result(view, describe(view));
  });
}

/** What a table of 10,000 volumes does not show takes as long to write and to read as the rest of it. */
const IN_USE_FIELDS = [
  'name',
  'sizeBytes',
  'allocatedBytes',
  'drive',
  'replicas',
  'state',
  'attachment',
  'mount',
] as const satisfies readonly (keyof VolumeView)[];

const UNUSED_FIELDS = [
  'name',
  'allocatedBytes',
  'createdAt',
  'unusedSince',
  'owner',
  'createdBy',
  'labels',
] as const satisfies readonly (keyof VolumeView)[];

type Shown<Fields extends readonly (keyof VolumeView)[]> = Pick<VolumeView, Fields[number]>;

function inUse(volumes: readonly Shown<typeof IN_USE_FIELDS>[]): string {
  const rows = volumes.map((view) => [
    view.name,
    formatSize(view.sizeBytes),
    view.allocatedBytes === null ? '?' : formatSize(view.allocatedBytes),
    drivesOf(view),
    view.state,
    view.mount?.state === 'remounting'
      ? `not at ${view.mount.path}`
      : (view.mount?.path ?? view.attachment?.device ?? view.attachment?.uri ?? ''),
  ]);
  return table(['NAME', 'SIZE', 'ALLOCATED', 'DRIVE', 'STATE', 'WHERE'], rows);
}

/** What could be removed, whom to ask, and what it would give back. */
function unused(volumes: readonly Shown<typeof UNUSED_FIELDS>[], unusedFor: string): string {
  if (volumes.length === 0) return `No volume is unused for ${unusedFor}`;
  const nowMs = Date.now();
  const rows = volumes.map((view) => [
    view.name,
    view.allocatedBytes === null ? '?' : formatSize(view.allocatedBytes),
    formatDuration(nowMs - Date.parse(view.unusedSince ?? view.createdAt)),
    ownerInWords(view),
    view.createdBy ?? '',
    labelsInWords(view),
  ]);
  const bytes = volumes.reduce((sum, view) => sum + (view.allocatedBytes ?? 0), 0);
  const headings = ['NAME', 'RECLAIMABLE', 'UNUSED FOR', 'OWNER', 'CREATED BY', 'LABELS'];
  return `${table(headings, rows)}\n${volumes.length} volumes, ${formatSize(bytes)} reclaimable: holdfast volume rm NAME`;
}

function describe(view: VolumeView): string {
  const pairs: [string, string][] = [
    ['Name', view.name],
    ['Id', view.id],
    ['Size', formatSizeExact(view.sizeBytes)],
    ['Allocated', view.allocatedBytes === null ? 'unknown' : formatSizeExact(view.allocatedBytes)],
    ['Drive', drivesOf(view)],
    ...view.replicas.map(({ node, drive, state }): [string, string] => [
      'Replica',
      `${state} on node ${node}, drive ${drive}`,
    ]),
    ['State', view.reason === null ? view.state : `${view.state}: ${view.reason}`],
    ['Epoch', String(view.epoch)],
    [
      'Created',
      view.createdBy === null ? view.createdAt : `${view.createdAt} by ${view.createdBy}`,
    ],
    ['Owner', ownerInWords(view) || 'nobody named'],
    ['Labels', labelsInWords(view) || 'none'],
    ['Grows by itself', growthInWords(view)],
    ['Last attached', view.lastAttachedAt ?? 'never'],
    ['Last written', view.lastWrittenAt ?? 'not seen yet'],
  ];
  if (view.highWaterBytes !== null) {
    pairs.push(['High water', formatSizeExact(view.highWaterBytes)]);
  }
  const { attachment, mount } = view;
  if (attachment !== null) {
    pairs.push(
      ['Attached', `${attachment.state} as ${attachment.as}${onNode(attachment.node)}`],
      ['NBD', attachment.uri ?? ''],
    );
    if (attachment.device !== null) pairs.push(['Device', attachment.device]);
  }
  if (mount !== null) {
    pairs.push(
      ['Mount', `${mount.state}, ${mount.fs} at ${mount.path}`],
      ['Held by', mount.holders.map(shortHolder).join(', ') || 'nobody'],
    );
  }
  return fields(pairs);
}

type ForceOptions = { readonly force?: boolean; readonly yes?: boolean };

const forceQuery = ({ force }: ForceOptions): string => (force === true ? '?force=true' : '');

type AttachOptions = {
  readonly nbd?: boolean;
  readonly force?: boolean;
  readonly acceptLoss?: boolean;
  readonly yes?: boolean;
};

function addAttaching(volume: Command): void {
  addYes(
    addCommand(volume, 'attach <name>', {
      purpose:
        'Attaches a volume: as a block device, or with --nbd as an NBD server on a unix socket alone.',
      example: 'holdfast volume attach db --nbd',
    }),
  )
    .option('--nbd', 'no block device: print the URI for NBD clients')
    .option('--force', 'take it from the node that has it, which is gone or cut off')
    .option('--accept-loss', 'as it is in the replica on that node, when others are gone for good')
    .action(async (name: string, options: AttachOptions, command: Command) => {
      const { api, output } = contextOf(command);
      const { nbd, force, acceptLoss } = options;
      await confirm(
        options.yes === true || acceptLoss !== true,
        `Serve volume "${name}" from this one replica? What it lacks is lost for good, and its other replicas are made anew from it.`,
      );
      const body = {
        as: nbd === true ? 'nbd' : 'device',
        ...(force === true ? { force } : {}),
        ...(acceptLoss === true ? { acceptLoss } : {}),
      };
      const { attachment } = await api.put<VolumeView>(volumePath(name, '/attachment'), body);
      const { uri = '', device = null, attachId = '' } = attachment ?? {};
      const value = device === null ? { uri, attachId } : { uri, device, attachId };
      output.result(value, device ?? uri ?? '');
    });
  addYes(
    addCommand(volume, 'detach <name>', {
      purpose: 'Detaches a volume after what is under way is done and on media.',
      example: 'holdfast volume detach db',
    }),
  )
    .option(
      '--force',
      'at once, with its mount: where I/O stands still, or its user is not to be had',
    )
    .action(async (name: string, options: ForceOptions, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(
        options.yes === true || options.force !== true,
        `Take volume "${name}" from whoever uses it? What they have not flushed may be lost; what they have stays.`,
      );
      const path = volumePath(name, `/attachment${forceQuery(options)}`);
      output.result(await api.delete<VolumeView>(path), `Volume "${name}" is detached`);
    });
}

function addMounting(volume: Command): void {
  addYes(
    addCommand(volume, 'mount <name>', {
      purpose:
        'Attaches a volume, makes a file system on it if it is blank, checks it, and mounts it.',
      example: 'holdfast volume mount db --fs ext4',
    }),
  )
    .addOption(
      new Option('--fs <type>', 'its file system (default: what it has, else ext4)').choices([
        'ext4',
        'xfs',
      ]),
    )
    .option('--at <path>', 'where (default: where it is mounted, else DIR/mnt/NAME)')
    .option('--force', 'make the file system over whatever the volume holds: that is lost')
    .action(
      async (
        name: string,
        options: { fs?: string; at?: string; force?: boolean; yes?: boolean },
        command: Command,
      ) => {
        const { api, output } = contextOf(command);
        await confirm(
          options.yes === true || options.force !== true,
          `Make a new file system on volume "${name}"? Everything that it holds is lost, for good.`,
        );
        const body = {
          ...(options.fs === undefined ? {} : { fs: options.fs }),
          ...(options.at === undefined ? {} : { path: resolve(options.at) }),
          force: options.force === true,
        };
        const view = await api.put<VolumeView>(volumePath(name, '/mount'), body);
        output.result(
          view,
          `Volume "${name}" is mounted at ${view.mount?.path ?? ''} (${view.mount?.fs ?? ''})`,
        );
      },
    );
  addYes(
    addCommand(volume, 'unmount <name>', {
      purpose: 'Unmounts a volume, and detaches it if the mount attached it.',
      example: 'holdfast volume unmount db',
    }),
  )
    .option('--force', 'though an engine that is gone for good holds it, or its I/O stands still')
    .action(async (name: string, options: ForceOptions, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(
        options.yes === true || options.force !== true,
        `Unmount volume "${name}", whoever holds it? If its I/O stands still, what was not flushed may be lost; what was stays.`,
      );
      const path = volumePath(name, `/mount${forceQuery(options)}`);
      output.result(await api.delete<VolumeView>(path), `Volume "${name}" is unmounted`);
    });
}
