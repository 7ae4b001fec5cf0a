/** Replicas of volumes, in options and in words. */

import type { Command } from 'commander';

import type { ScrubView } from '../../control/replica-schemas.ts';
import type { VolumeView } from '../../control/schemas.ts';
import { Refusal } from '../../model/errors.ts';
import { addCommand, contextOf } from '../context.ts';
import { volumePath } from './volume-space.ts';

/** Adds `volume scale`, `volume move-replica` and `volume scrub`. */
export function addReplicaCommands(volume: Command): void {
  addScrub(volume);
  addCommand(volume, 'scale <name>', {
    purpose:
      'Wants another number of replicas of a volume. They are made, or go, in the background: volume inspect shows how far that is.',
    example: 'holdfast volume scale db --replicas 3',
  })
    .requiredOption('--replicas <count>', '1 to 5')
    .action(async (name: string, options: { replicas: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const body = { count: countOf(options.replicas) };
      const view = await api.put<VolumeView>(volumePath(name, '/replicas'), body);
      output.result(view, `Volume "${name}" is to have ${body.count} replicas`);
    });
  addCommand(volume, 'move-replica <name>', {
    purpose:
      'Wants the replica on a drive, or on a node, to be elsewhere. It goes once another is in sync.',
    example: 'holdfast volume move-replica db --from c',
  })
    .requiredOption('--from <name>', 'the drive that it is on, or the node')
    .action(async (name: string, options: { from: string }, command: Command) => {
      const { api, output } = contextOf(command);
      const view = await api.post<VolumeView>(volumePath(name, '/replicas/move'), {
        from: options.from,
      });
      output.result(
        view,
        `Volume "${name}" gets a replica elsewhere in place of that on "${options.from}"`,
      );
    });
}

function addScrub(volume: Command): void {
  addCommand(volume, 'scrub <name>', {
    purpose:
      'Compares all copies of an attached volume with each other and with their checksums, and repairs what is bad; in the background. It is done by itself once a week.',
    example: 'holdfast volume scrub db --status',
  })
    .option('--status', 'start nothing: tell how far it is, and what was found')
    .action(async (name: string, options: { status?: boolean }, command: Command) => {
      const { api, output } = contextOf(command);
      const path = volumePath(name, '/scrub');
      const view = await (options.status === true
        ? api.get<ScrubView>(path)
        : api.post<ScrubView>(path, {}));
      output.result(view, scrubInWords(name, view));
    });
}

function scrubInWords(name: string, view: ScrubView): string {
  const { startedAt, endedAt, doneBytes, totalBytes, copies } = view;
  const percent = Math.floor((100 * doneBytes) / Math.max(totalBytes, 1));
  const state =
    startedAt === null
      ? 'was never scrubbed'
      : endedAt === null
        ? `is being scrubbed since ${startedAt}: ${percent} %`
        : `was scrubbed until ${endedAt}`;
  const found =
    copies === null
      ? ''
      : `; since it was attached ${copies.repaired} extents were repaired, ${copies.unreadable} could be read nowhere`;
  return `Volume "${name}" ${state}${found}`;
}

function countOf(text: string): number {
  if (/^[1-5]$/.test(text)) return Number(text);
  const problem = 'a volume has 1 to 5';
  throw new Refusal('REPLICAS_INVALID', { wanted: `"${text}" replicas`, problem });
}

/** What the options of a new volume say of its replicas, as the API takes it. Throws REPLICAS_INVALID. */
export function replicasOf(options: {
  readonly replicas?: string;
  readonly spread?: string;
  readonly softSpread?: boolean;
  readonly local?: boolean;
}): object {
  const { replicas, spread, softSpread = false, local } = options;
  const wish = {
    ...(replicas === undefined ? {} : { count: countOf(replicas) }),
    ...(spread === undefined && !softSpread
      ? {}
      : { spread: { level: spread ?? 'node', isHard: !softSpread } }),
    ...(local === true ? { local: true } : {}),
  };
  return Object.keys(wish).length === 0 ? {} : { replicas: wish };
}

/** The drives that a volume lies on. */
export const drivesOf = ({ drive, replicas }: Pick<VolumeView, 'drive' | 'replicas'>): string =>
  replicas.length === 0 ? drive : replicas.map((replica) => replica.drive).join(', ');

/** Where a volume lies, as the end of a sentence. */
export function placesInWords({ drive, replicas }: VolumeView): string {
  if (replicas.length === 0) return `on drive "${drive}"`;
  const nodes = replicas.map(({ node }) => `"${node}"`).join(', ');
  return `with ${replicas.length} ${replicas.length === 1 ? 'replica' : 'replicas'}, on ${nodes}`;
}

export const onNode = (node: string | null): string => (node === null ? '' : ` on node ${node}`);
