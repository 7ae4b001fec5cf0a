/** holdfast node … */

import type { Command } from 'commander';

import { similar } from '../../control/names.ts';
import type { NodeChange, NodeView } from '../../control/node-schemas.ts';
import { formatTcpAddress } from '../../env/tcp-address.ts';
import { formatDuration } from '../../model/durations.ts';
import { Refusal } from '../../model/errors.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf } from '../context.ts';
import { fields, table } from '../output.ts';
import { addJoinCommands } from './node-join.ts';

const LABELS = ['region', 'zone', 'rack'];

/** Adds `holdfast node` with its subcommands. */
export function addNodeCommands(program: Command): void {
  const node = program
    .command('node')
    .description('Nodes of the cluster: which live, where they are, which are in service');
  addCommand(node, 'ls', {
    purpose: 'Lists the nodes of the cluster.',
    example: 'holdfast node ls',
  }).action(async (_: object, command: Command) => {
    const { api, output } = contextOf(command);
    const nodes = await api.get<NodeView[]>('/v1/nodes');
    output.result(nodes, listInWords(nodes));
  });
  addCommand(node, 'inspect <name>', {
    purpose: 'Shows a node.',
    example: 'holdfast node inspect b',
  }).action(async (name: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await api.get<NodeView>(pathOf(name));
    output.result(view, inWords(view));
  });
  addCommand(node, 'label <name> <words...>', {
    purpose:
      'Says where a node is: region=, zone= and rack=, each with a word, or with nothing where it has none. What is placed from then on heeds it.',
    example: 'holdfast node label b zone=east rack=r12',
  }).action(async (name: string, words: readonly string[], _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const labels = Object.assign({}, ...words.map(labelIn)) as NonNullable<NodeChange['labels']>;
    const view = await api.patch<NodeView>(pathOf(name), { labels });
    output.result(view, inWords(view));
  });
  addService(node, 'cordon', {
    service: 'cordoned',
    purpose: 'Has a node get nothing new. What is there stays.',
    said: () => 'gets nothing new',
  });
  addService(node, 'drain', {
    service: 'draining',
    purpose: 'Has a node get nothing new, and what is there leave.',
    said: ({ replicas, alone }) =>
      `drains: ${replicas} replicas are to leave it (holdfast node ls shows how many are left)${aloneInWords(alone)}`,
  });
  addService(node, 'uncordon', {
    service: 'open',
    purpose: 'Takes a node that is cordoned or drains into service again.',
    said: () => 'is in service',
  });
  const maintenance = node
    .command('maintenance')
    .description('A node that goes away for a while, and comes back with what it has');
  addService(maintenance, 'on', {
    service: 'maintenance',
    purpose: 'Has a node get nothing new, and nothing of it be replaced while it is away.',
    said: () => 'may be away: nothing of it is replaced',
  });
  addService(maintenance, 'off', {
    service: 'open',
    purpose: 'Ends the maintenance of a node: it is in service.',
    said: () => 'is in service',
  });
  addRemoval(node);
  addJoinCommands(node);
}

function addService(
  parent: Command,
  verb: string,
  about: {
    readonly service: NodeView['service'];
    readonly purpose: string;
    readonly said: (view: NodeView) => string;
  },
): void {
  const { service, purpose, said } = about;
  const words = parent.name() === 'node' ? `node ${verb}` : `node ${parent.name()} ${verb}`;
  addCommand(parent, `${verb} <name>`, { purpose, example: `holdfast ${words} b` }).action(
    async (name: string, _: object, command: Command) => {
      const { api, output } = contextOf(command);
      const view = await api.patch<NodeView>(pathOf(name), { service });
      output.result(view, `Node "${name}" ${said(view)}`);
    },
  );
}

function addRemoval(node: Command): void {
  addYes(
    addCommand(node, 'rm <name>', {
      purpose:
        'Takes a node that is gone for good out of the cluster, with its drives. One that lives, or that volumes count on, is refused.',
      example: 'holdfast node rm b --yes',
    }),
  ).action(async (name: string, options: { yes?: boolean }, command: Command) => {
    const { api, output } = contextOf(command);
    await confirm(
      options.yes === true,
      `Take node "${name}" out of the cluster? What is on its drives is then nobody's.`,
    );
    const view = await api.delete<{ removed: boolean }>(pathOf(name));
    const nodes = view.removed ? [] : await api.get<NodeView[]>('/v1/nodes');
    const like = similar(
      name,
      nodes.map((each) => each.name),
    );
    output.result(
      view,
      view.removed ? `Node "${name}" is out of the cluster` : `There was no node "${name}"${like}`,
    );
  });
  addYes(
    addCommand(node, 'lost <name>', {
      purpose:
        'After a restore of the records: names a node as gone for good, which they wait for. What only its replicas knew is given up.',
      example: 'holdfast node lost b --yes',
    }),
  ).action(async (name: string, options: { yes?: boolean }, command: Command) => {
    const { api, output } = contextOf(command);
    await confirm(
      options.yes === true,
      `Go on without node "${name}"? What was written since the backup and is on its replicas alone is lost.`,
    );
    const view = await api.post<NodeView>(`${pathOf(name)}/lost`, {});
    output.result(view, `Node "${name}" is no longer waited for`);
  });
}

const aloneInWords = (names: readonly string[]): string =>
  names.length === 0
    ? ''
    : `. What has no replicas stays: ${names.join(', ')}; copy it to a new volume, and remove it`;

const pathOf = (name: string): string => `/v1/nodes/${encodeURIComponent(name)}`;

/** `zone=east`. Throws INPUT_INVALID. */
function labelIn(word: string): NonNullable<NodeChange['labels']> {
  const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(word) ?? [];
  if (LABELS.includes(name)) return { [name]: value };
  throw new Refusal('INPUT_INVALID', {
    problem: `"${word}" labels nothing: write region=, zone= or rack=`,
  });
}

function listInWords(nodes: readonly NodeView[]): string {
  if (nodes.length === 0) return 'This is a single machine: it has no nodes';
  const rows = nodes.map((view) => [
    view.name,
    stateOf(view),
    view.service,
    placeOf(view),
    view.drives.join(', '),
    String(view.replicas),
    String(view.attached),
  ]);
  return table(['NAME', 'STATE', 'SERVICE', 'WHERE', 'DRIVES', 'REPLICAS', 'ATTACHED'], rows);
}

function inWords(view: NodeView): string {
  return fields([
    ['name', view.name],
    ['state', stateOf(view)],
    ['service', view.service],
    ...LABELS.map((name) => [name, { ...view.labels }[name as 'zone'] || 'none'] as const),
    ['peer', formatTcpAddress(view.peer)],
    ['joins', view.join === null ? 'none' : formatTcpAddress(view.join)],
    ['drives', view.drives.join(', ') || 'none'],
    ['replicas', String(view.replicas)],
    ['without replicas', view.alone.join(', ') || 'none'],
    ['attached', `${view.attached} volumes`],
    ['engine starts', String(view.engineStart)],
    ['created', view.createdAt],
  ]);
}

const stateOf = ({ state, downForMs }: NodeView): string =>
  downForMs === null ? state : `${state} for ${formatDuration(downForMs)}`;

/** `zone east, rack r12`. */
const placeOf = ({ labels }: NodeView): string =>
  Object.entries(labels)
    .flatMap(([name, value]) => (value === '' ? [] : [`${name} ${value}`]))
    .join(', ');
