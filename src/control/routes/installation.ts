/** Routes of the installation as a whole. */

import { Type } from 'typebox';

import { Refusal } from '../../model/errors.ts';
import type { App, RestParts } from '../rest.ts';
import { IdParams, Operation, Released, Status, problems } from '../schemas.ts';
import { viewOperation } from '../views.ts';

/** Adds them to the API. */
export function installationRoutes(app: App, parts: RestParts): void {
  app.get(
    '/v1/status',
    {
      schema: { summary: 'Tells how the installation is', response: { 200: Status, ...problems } },
    },
    () => parts.status(),
  );
  app.get(
    '/v1/operations',
    {
      schema: {
        summary: 'Lists operations',
        response: { 200: Type.Array(Operation), ...problems },
      },
    },
    async () => (await parts.records.operations()).map(viewOperation),
  );
  app.get(
    '/v1/operations/:id',
    {
      schema: {
        summary: 'Shows an operation',
        params: IdParams,
        response: { 200: Operation, ...problems },
      },
    },
    async ({ params: { id } }) => {
      const record = await parts.records.operation(id);
      if (record === undefined) throw new Refusal('OPERATION_NOT_FOUND', { operation: id });
      return viewOperation(record);
    },
  );
  app.post(
    '/v1/release',
    {
      schema: {
        summary: 'Unmounts and releases all devices, before an orderly end',
        response: { 200: Released, ...problems },
      },
    },
    async () => ({ problems: await parts.release() }),
  );
}
