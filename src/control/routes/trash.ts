/** Routes of the trash. */

import { Type } from 'typebox';

import type { TrashRecord } from '../../model/records.ts';
import type { App, RestParts } from '../rest.ts';
import {
  IdParams,
  Nullable,
  Purged,
  Removed,
  RestoreBody,
  Trashed,
  type TrashedView,
  Volume,
  problems,
} from '../schemas.ts';
import { viewTrashed } from '../views.ts';
import { volumeView } from './volumes.ts';

/** A removed volume as the API shows it. */
export async function trashedView(
  { volumes }: RestParts,
  record: TrashRecord,
): Promise<TrashedView> {
  return viewTrashed(record, await volumes.engineStatusOf(record.volume));
}

/** Adds them to the API. */
export function trashRoutes(app: App, parts: RestParts): void {
  const { records, trash, volumes } = parts;
  app.get(
    '/v1/trash',
    {
      schema: {
        summary: 'Lists removed volumes that can be restored, the last one first',
        response: { 200: Type.Array(Trashed), ...problems },
      },
    },
    async () => {
      const all = await records.trash();
      const statuses = await volumes.engineStatus(all.map(({ volume }) => volume.id));
      return all.map((record) => viewTrashed(record, statuses.get(record.volume.id)));
    },
  );
  app.get(
    '/v1/trash/:id',
    {
      schema: {
        summary: 'Shows a removed volume: by its id, or the last one of a name',
        params: IdParams,
        response: { 200: Trashed, ...problems },
      },
    },
    async ({ params }) => trashedView(parts, await trash.get(params.id)),
  );
  app.post(
    '/v1/trash/:id/restore',
    {
      schema: {
        summary: 'Restores a removed volume as it was',
        params: IdParams,
        body: Nullable(RestoreBody),
        response: { 200: Volume, ...problems },
      },
    },
    async ({ params, body }) =>
      volumeView(parts, (await trash.restore(params.id, body?.name)).name),
  );
  app.delete(
    '/v1/trash/:id',
    {
      schema: {
        summary: 'Removes one volume from the trash for good',
        params: IdParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await trash.purge(params.id) }),
  );
  app.delete(
    '/v1/trash',
    {
      schema: {
        summary: 'Removes everything in the trash for good',
        response: { 200: Purged, ...problems },
      },
    },
    async () => ({ purged: await trash.empty() }),
  );
}
