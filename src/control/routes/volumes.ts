/** Routes of volumes. */

import type { App, RestParts } from '../rest.ts';
import {
  NameParams,
  RemoveQuery,
  RemovedVolume,
  Volume,
  VolumeBody,
  VolumeChange,
  VolumePage,
  VolumeQuery,
  type VolumeView,
  problems,
} from '../schemas.ts';
import { viewTrashed, viewVolume } from '../views.ts';
import { listVolumes, nextLink } from '../volume-list.ts';

const CLIENT_NAME_LENGTH_MAX = 100;

/** A volume as the API shows it, after whatever was done to it. */
export async function volumeView(
  { records, volumes }: RestParts,
  name: string,
): Promise<VolumeView> {
  const record = await volumes.get(name);
  const { node = '' } = record.attachment ?? {};
  return viewVolume(record, {
    status: await volumes.engineStatusOf(record),
    usage: await records.usage(record.id),
    node: (await records.node(node))?.record,
  });
}

/** Adds them to the API. */
export function volumeRoutes(app: App, parts: RestParts): void {
  const { volumes } = parts;
  oneVolumeRoutes(app, parts);
  app.get(
    '/v1/volumes',
    {
      schema: {
        summary: 'Lists volumes, in order of name',
        querystring: VolumeQuery,
        response: { 200: VolumePage, ...problems },
      },
    },
    async ({ query }, reply) => {
      const { page, next } = await listVolumes(parts, query);
      if (next !== undefined) {
        void reply.header('link', nextLink('/v1/volumes', { ...query, after: next }));
      }
      return page;
    },
  );
  app.post(
    '/v1/volumes',
    {
      schema: {
        summary: 'Creates a volume',
        body: VolumeBody,
        response: { 200: Volume, ...problems },
      },
    },
    async ({ body, headers }) => {
      const createdBy = headers['user-agent']?.slice(0, CLIENT_NAME_LENGTH_MAX);
      await volumes.create({ ...body, drive: body.drive, createdBy });
      return volumeView(parts, body.name);
    },
  );
}

function oneVolumeRoutes(app: App, parts: RestParts): void {
  const { volumes } = parts;
  app.get(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Shows a volume',
        params: NameParams,
        response: { 200: Volume, ...problems },
      },
    },
    ({ params }) => volumeView(parts, params.name),
  );
  app.patch(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Resizes a volume, says whose it is, labels it, lets it grow by itself',
        params: NameParams,
        body: VolumeChange,
        response: { 200: Volume, ...problems },
      },
    },
    async ({ params, body }) => {
      await volumes.change(params.name, body);
      return volumeView(parts, params.name);
    },
  );
  app.post(
    '/v1/volumes/:name/trim',
    {
      schema: {
        summary: 'Gives back the space that the mounted file system of a volume no longer uses',
        params: NameParams,
        response: { 200: Volume, ...problems },
      },
    },
    async ({ params }) => {
      await volumes.trim(params.name);
      return volumeView(parts, params.name);
    },
  );
  app.delete(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Removes a volume: into the trash, if its settings keep one',
        params: NameParams,
        querystring: RemoveQuery,
        response: { 200: RemovedVolume, ...problems },
      },
    },
    async ({ params, query }) => {
      const { removed, trashed } = await volumes.remove(params.name, { now: query.now === true });
      if (trashed === undefined) return { removed, trash: null };
      const status = await volumes.engineStatusOf(trashed.volume);
      return { removed, trash: viewTrashed(trashed, status) };
    },
  );
}
