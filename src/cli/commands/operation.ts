/** holdfast operation … */

import type { Command } from 'commander';

import type { OperationResultView, OperationView } from '../../control/operation-schemas.ts';
import { type ApiClient, resultOf } from '../api-client.ts';
import { addCommand, contextOf } from '../context.ts';
import { describeProgress, describeTarget, followOperation } from '../follow.ts';
import { fields, table } from '../output.ts';
import { addWatch, show } from '../watch.ts';

/** Adds `holdfast operation` with its subcommands. */
export function addOperationCommands(program: Command): void {
  const operation = program
    .command('operation')
    .description('Operations: changes under way, and how the last ones went');
  addWatch(
    addCommand(operation, 'ls', {
      purpose: 'Lists operations, the newest first.',
      example: 'holdfast operation ls --running',
    }).option('--running', 'those alone that are under way'),
  ).action(async (options: { running?: boolean; watch?: boolean }, command: Command) => {
    const context = contextOf(command);
    const query = options.running === true ? '?state=running' : '';
    await show(context, {
      watch: options.watch === true ? ['operation'] : undefined,
      read: () => context.api.get<OperationView[]>(`/v1/operations${query}`),
      text: listInWords,
    });
  });
  addCommand(operation, 'show <id>', {
    purpose: 'Shows an operation, or the last one: how far it is, or how it ended.',
    example: 'holdfast operation show last',
  }).action(async (id: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await read(api, id);
    output.result(view, describe(view));
  });
  addCommand(operation, 'wait <id>', {
    purpose: 'Waits for the end of an operation, and ends as the command that began it would have.',
    example: 'holdfast operation wait last',
  }).action(async (id: string, _: object, command: Command) => {
    const { api, output } = contextOf(command);
    const view = await followOperation(await read(api, id), output, (each) => api.operation(each));
    resultOf(view);
    output.result(view, describe(view));
  });
}

async function read(api: ApiClient, id: string): Promise<OperationResultView> {
  if (id !== 'last') return api.operation(id);
  const [newest] = await api.get<OperationView[]>('/v1/operations?limit=1');
  return api.operation(newest?.id ?? id);
}

function listInWords(operations: readonly OperationView[]): string {
  if (operations.length === 0) return 'No operation';
  const nowMs = Date.now();
  const rows = operations.map((view) => [
    view.id,
    view.kind,
    describeTarget(view),
    view.state,
    view.startedAt,
    view.error?.message ?? describeProgress(view, nowMs),
  ]);
  const columns = [
    { heading: 'ID', rank: 0, isWhole: true },
    'OPERATION',
    { heading: 'OF', rank: 0 },
    'STATE',
    { heading: 'STARTED', rank: 5, isWhole: true },
    { heading: 'HOW', rank: 4 },
  ];
  return table(columns, rows);
}

function describe(view: OperationView): string {
  const pairs: [string, string][] = [
    ['Id', view.id],
    ['Operation', view.kind],
    ['Of', describeTarget(view)],
    ['State', view.state],
    ['Started', view.startedAt],
    ['Ended', view.endedAt ?? 'not yet'],
  ];
  if (view.progress !== null) pairs.push(['Progress', describeProgress(view, Date.now())]);
  if (view.error !== null) pairs.push(['Error', view.error.message]);
  if (view.error?.wayOut != null) pairs.push(['Way out', view.error.wayOut]);
  return fields(pairs);
}
