/**
 * holdfast up, down, upgrade, status, uninstall. What carries them out is loaded when it is asked for: it would take other commands a
 * fifth of their time.
 */

import { type Command, Option } from 'commander';

import type { ChangeKind } from '../../control/changes.ts';
import type { StatusView } from '../../control/schemas.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf } from '../context.ts';
import { colored, fields, table } from '../output.ts';
import { FIRST_DRIVE_SIZE } from '../size-option.ts';
import { addWatch, show } from '../watch.ts';
import type { UpOptions } from './up.ts';

function addUp(program: Command): void {
  addCommand(program, 'up', {
    purpose:
      'Starts Holdfast: engine, attacher and control. Makes a file drive where there is no drive yet. Says when it is ready, and runs until Ctrl-C.',
    example: 'holdfast up --detach --drive-size 1GiB',
    isLocal: true,
  })
    .option(
      '--nodes <count>',
      'a cluster of so many nodes on this machine, each in DIR/nodes/NAME and a zone of its own (see docs/cluster.md)',
    )
    .option('--detach', 'return when it is ready, and leave it running')
    .option('--drive-size <size>', `size of the first drive (default: ${FIRST_DRIVE_SIZE})`)
    .option('--sparse', 'let the first drive grow as it fills')
    .option(
      '--listen <address>',
      'the API over TCP too, now and at later starts: 127.0.0.1:7070, or none (see holdfast token)',
    )
    .option(
      '--store <file>',
      'keep the records of a new installation in the etcd of these settings (see docs/cluster-store.md)',
    )
    .addOption(
      new Option('--supervise', 'what --detach starts: it waits and makes the drive').hideHelp(),
    )
    .action(async (options: UpOptions, command: Command) => {
      const { up } = await import('./up.ts');
      // In the foreground Ctrl-C ends what it starts.
      await up(contextOf(command, { leaves: options.detach === true }), options);
    });
}

type DownOptions = { node?: string; force?: boolean; release?: boolean; yes?: boolean };

/** Adds up, down, status and what else concerns an installation as a whole. */
export function addInstallationCommands(program: Command): void {
  addUp(program);
  addYes(
    addCommand(program, 'down', {
      purpose:
        'Unmounts, and ends Holdfast in order. What was attached and mounted is so again after the next up.',
      example: 'holdfast down',
      isLocal: true,
    }),
  )
    .option('--node <name>', 'of a cluster on this machine, that node alone')
    .option('--force', 'detach volumes whose I/O stands still: what was not flushed may be lost')
    .addOption(
      new Option('--release', 'what the services run before they end: only unmount').hideHelp(),
    )
    .action(async (options: DownOptions, command: Command) => {
      const context = contextOf(command);
      await confirm(
        options.yes === true || options.force !== true,
        'Detach volumes whose I/O stands still? What was not flushed to them may be lost.',
      );
      const { downAndTell } = await import('./down.ts');
      const { releaseAll } = await import('./services.ts');
      await (options.release === true ? releaseAll(context) : downAndTell(context, options));
    });
  addCommand(program, 'upgrade', {
    purpose:
      'Replaces the processes that run by those of this program, under what is mounted: its I/O waits for a second or two, and none fails. Install the new version first, and run this command of it.',
    example: 'holdfast upgrade',
    isLocal: true,
  }).action(async (_: object, command: Command) => {
    const context = contextOf(command);
    const { upgrade } = await import('./upgrade.ts');
    const { upgradeNodes } = await import('./nodes.ts');
    const { cluster } = context;
    await (cluster === undefined ? upgrade(context) : upgradeNodes(context, cluster));
  });
  addWatch(
    addCommand(program, 'status', {
      purpose: 'Tells how Holdfast is: processes, I/O, warnings.',
      example: 'holdfast status',
    }),
  ).action(async (options: { watch?: boolean }, command: Command) => {
    const context = contextOf(command);
    const { cluster } = context;
    const watch: readonly ChangeKind[] | undefined =
      options.watch === true ? ['event', 'drive', 'volume'] : undefined;
    if (cluster !== undefined) {
      const { describeNodes, readNodes } = await import('./nodes.ts');
      await show(context, { watch, read: () => readNodes(context, cluster), text: describeNodes });
      return;
    }
    const read = (): Promise<StatusView> => context.api.get<StatusView>('/v1/status');
    await show(context, { watch, read, text: describe });
  });
  addYes(
    addCommand(program, 'uninstall', {
      purpose: 'Ends Holdfast and deletes everything that it made, volumes included.',
      example: 'holdfast uninstall --yes',
      isLocal: true,
    }),
  ).action(async (options: { yes?: boolean }, command: Command) => {
    const { uninstall } = await import('./uninstall.ts');
    await uninstall(contextOf(command), { sure: options.yes === true });
  });
}

function describe(status: StatusView): string {
  const processes = Object.entries(status.processes).map(
    ([role, { pid, state, restarts, startedAt }]) => [
      role,
      state,
      String(pid ?? '-'),
      String(restarts),
      startedAt ?? '',
    ],
  );
  const lines = [
    fields([
      ['Holdfast', status.version],
      ['Data', status.dataDir],
      [
        'I/O',
        status.io.reason === null ? status.io.kind : `${status.io.kind} (${status.io.reason})`,
      ],
      ['API', [status.sockets['api'], tcpUrl(status)].filter(Boolean).join(' and ')],
      [
        'Drives',
        status.drives.map(({ path: at, state }) => `${at} (${state})`).join(', ') || 'none',
      ],
      ['Volumes', String(status.volumes)],
    ]),
    table(['PROCESS', 'STATE', 'PID', 'RESTARTS', 'SINCE'], processes),
    ...status.warnings.map((warning) => `${colored('yellow', 'Warning:')} ${warning}`),
    ...status.events.map(({ at, what }) => `${at}  ${what}`),
  ];
  return lines.join('\n\n');
}

const tcpUrl = ({ sockets }: StatusView): string =>
  sockets['tcp'] === undefined ? '' : `http://${sockets['tcp']}`;
