/** holdfast drive cordon, uncordon, drain, replace and adopt: of a cluster. */

import { resolve } from 'node:path';

import type { Command } from 'commander';

import type { DriveView } from '../../control/drive-schemas.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf } from '../context.ts';

/** Adds them to `holdfast drive`. */
export function addDriveServices(drive: Command): void {
  addService(drive, 'cordon', {
    service: 'cordoned',
    purpose: 'Has a drive of a cluster get no more replicas. Those that it has stay.',
    said: () => 'gets no more replicas',
  });
  addService(drive, 'drain', {
    service: 'draining',
    purpose: 'Has the replicas on a drive of a cluster leave it, and no more come.',
    said: ({ replicas }) =>
      replicas === 0
        ? 'is drained: it has no replicas'
        : `drains: ${replicas} replicas are to leave it (holdfast drive ls shows how many are left)`,
  });
  addService(drive, 'uncordon', {
    service: 'open',
    purpose: 'Takes a drive that is cordoned or drains into service again.',
    said: () => 'is in service',
  });
}

function addService(
  drive: Command,
  verb: string,
  about: {
    readonly service: DriveView['service'];
    readonly purpose: string;
    readonly said: (view: DriveView) => string;
  },
): void {
  const { service, purpose, said } = about;
  addCommand(drive, `${verb} <name>`, {
    purpose,
    example: `holdfast drive ${verb} default-b`,
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const path = `/v1/drives/${encodeURIComponent(name)}`;
    const view = await api.patch<DriveView>(path, { service });
    output.result(view, `Drive "${name}" ${said(view)}`);
  });
}

type ReplaceOptions = { readonly name?: string; readonly force?: boolean; readonly yes?: boolean };

/** Adds `holdfast drive replace`. */
export function addReplacement(drive: Command): void {
  addYes(
    addCommand(drive, 'replace <name> <path>', {
      purpose:
        'Adds a drive in the place of another of the same node, also of one that failed: its replicas leave or are made anew, then it is removed.',
      example: 'holdfast drive replace default-b /dev/sdc',
    }),
  )
    .option('--name <new>', 'of the new drive (default: that of the old one, with a number)')
    .option('--force', 'format over what is there: it is lost')
    .action(async (name: string, at: string, options: ReplaceOptions, command: Command) => {
      const { api, output } = contextOf(command);
      await confirm(
        options.yes === true || options.force !== true,
        `Format "${resolve(at)}"? Everything that it holds is lost, for good.`,
      );
      const view = await api.post<DriveView>(`/v1/drives/${encodeURIComponent(name)}/replace`, {
        path: resolve(at),
        force: options.force === true,
        ...(options.name === undefined ? {} : { name: options.name }),
      });
      output.result(view, `Drive "${view.name}" at ${view.path} is in the place of "${name}"`);
    });
}

/** Adds `holdfast drive adopt`. */
export function addAdoption(drive: Command): void {
  addCommand(drive, 'adopt <path>', {
    purpose:
      'Takes over a drive of the cluster that was moved to this node, or whose node is gone: its replicas come back here, with what they missed.',
    example: 'holdfast drive adopt /dev/sdc',
  }).action(async (at: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.post<DriveView>('/v1/drives/adopt', { path: resolve(at) });
    output.result(
      view,
      `Drive "${view.name}" at ${view.path} is of node "${view.node}", with ${view.replicas} replicas`,
    );
  });
}
