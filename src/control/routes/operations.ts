/** Routes of operations: how each change goes, or went. */

import { Type } from 'typebox';

import { Refusal } from '../../model/errors.ts';
import type { OperationRecord } from '../../model/records.ts';
import { replacementProgress } from '../drive-replacement.ts';
import type { App, RestParts } from '../rest.ts';
import { Operation, OperationQuery, OperationResult } from '../operation-schemas.ts';
import { IdParams, PAGE_COUNT_MAX, problems } from '../schemas.ts';
import { viewOperation, viewSettings } from '../views.ts';
import { driveView } from './drives.ts';
import { trashedView } from './trash.ts';
import { volumeView } from './volumes.ts';

/** What the request of an operation that is done answers, by what has become of its target. */
export async function outcomeOf(parts: RestParts, operation: OperationRecord): Promise<object> {
  const { kind, target, startedAtMs, count = 0 } = operation;
  const name = target.slice(target.indexOf('/') + 1);
  if (['drive.remove', 'trash.purge', 'node.remove'].includes(kind)) return { removed: true };
  if (kind === 'settings.change') return viewSettings(await parts.records.settings());
  if (kind === 'node.change') return parts.nodes.get(name);
  if (kind === 'trash.empty') return { purged: count };
  if (kind === 'volume.remove') {
    const trash = await parts.records.trash();
    const kept = trash.find(
      ({ volume, removedAtMs }) => volume.name === name && removedAtMs >= startedAtMs,
    );
    return { removed: true, trash: kept === undefined ? null : await trashedView(parts, kept) };
  }
  return kind.startsWith('drive.') ? driveView(parts, name) : volumeView(parts, name);
}

/** Adds them to the API. */
export function operationRoutes(app: App, parts: RestParts): void {
  const { records, progress } = parts;
  const view = async (record: OperationRecord) =>
    viewOperation(
      record,
      progress.of(record.target) ?? (await replacementProgress(records, record)),
    );
  app.get(
    '/v1/operations',
    {
      schema: {
        summary: 'Lists operations, the newest first',
        querystring: OperationQuery,
        response: { 200: Type.Array(Operation), ...problems },
      },
    },
    async ({ query: { state, limit = PAGE_COUNT_MAX } }) => {
      const shown = (await records.operations())
        .filter((record) => state === undefined || record.state === state)
        .toSorted((a, b) => b.startedAtMs - a.startedAtMs)
        .slice(0, limit);
      return Promise.all(shown.map(view));
    },
  );
  app.get(
    '/v1/operations/:id',
    {
      schema: {
        summary: 'Shows an operation, and what came of it',
        params: IdParams,
        response: { 200: OperationResult, ...problems },
      },
    },
    async ({ params: { id } }) => {
      const record = await records.operation(id);
      if (record === undefined) throw new Refusal('OPERATION_NOT_FOUND', { operation: id });
      const result = record.state === 'done' ? await outcomeOrGone(parts, record) : null;
      return { ...(await view(record)), result };
    },
  );
}

async function outcomeOrGone(parts: RestParts, record: OperationRecord): Promise<object | null> {
  try {
    return await outcomeOf(parts, record);
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}
