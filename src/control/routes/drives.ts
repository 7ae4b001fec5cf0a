/** Routes of drives. */

import { Type } from 'typebox';

import type { App, RestParts } from '../rest.ts';
import {
  Drive,
  DriveBody,
  DriveChangeBody,
  type DriveView,
  NameParams,
  Removed,
  problems,
} from '../schemas.ts';
import { viewDrive } from '../views.ts';

/** A drive as the API shows it, after whatever was done to it. */
export async function driveView({ drives, progress }: RestParts, name: string): Promise<DriveView> {
  const record = await drives.get(name);
  const status = (await drives.engineStatus()).get(record.id);
  return viewDrive(record, status, progress.of(`drive/${name}`));
}

/** Adds them to the API. */
export function driveRoutes(app: App, parts: RestParts): void {
  const { records, drives, progress } = parts;
  app.get(
    '/v1/drives',
    {
      schema: {
        summary: 'Lists drives, of a cluster those of all nodes',
        response: { 200: Type.Array(Drive), ...problems },
      },
    },
    async () => {
      const statuses = await drives.engineStatus();
      return (await records.everyDrive()).map((record) =>
        viewDrive(record, statuses.get(record.id), progress.of(`drive/${record.name}`)),
      );
    },
  );
  app.post(
    '/v1/drives',
    {
      schema: {
        summary: 'Formats and adds a drive',
        body: DriveBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ body }) => {
      const { name, path, sizeBytes, sparse = false, force = false } = body;
      await drives.add({ name, path, sizeBytes, sparse, force });
      return driveView(parts, name);
    },
  );
  app.get(
    '/v1/drives/:name',
    {
      schema: {
        summary: 'Shows a drive',
        params: NameParams,
        response: { 200: Drive, ...problems },
      },
    },
    ({ params }) => driveView(parts, params.name),
  );
  app.patch(
    '/v1/drives/:name',
    {
      schema: {
        summary: 'Makes a drive larger',
        params: NameParams,
        body: DriveChangeBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ params, body }) => {
      await drives.grow(params.name, body.sizeBytes);
      return driveView(parts, params.name);
    },
  );
  app.delete(
    '/v1/drives/:name',
    {
      schema: {
        summary: 'Removes a drive',
        params: NameParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await drives.remove(params.name) }),
  );
}
