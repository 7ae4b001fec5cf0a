/** Routes of drives. */

import { Type } from 'typebox';

import { keptDrive } from '../drive-holdings.ts';
import { driveViewer } from '../drive-views.ts';
import type { App, RestParts } from '../rest.ts';
import { NameParams, Removed, problems } from '../schemas.ts';
import {
  Drive,
  DriveAdoptBody,
  DriveBody,
  DriveChangeBody,
  DriveReplaceBody,
  type DriveView,
} from '../drive-schemas.ts';

/** A drive of any node as the API shows it, after whatever was done to it. Throws DRIVE_NOT_FOUND. */
export async function driveView(parts: RestParts, name: string): Promise<DriveView> {
  const { record } = await keptDrive(parts.records, name);
  return (await driveViewer(parts))(record);
}

/** Adds them to the API. */
export function driveRoutes(app: App, parts: RestParts): void {
  const { records, drives } = parts;
  app.get(
    '/v1/drives',
    {
      schema: {
        summary: 'Lists drives, of a cluster those of all nodes',
        response: { 200: Type.Array(Drive), ...problems },
      },
    },
    async () => (await records.everyDrive()).map(await driveViewer(parts)),
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
        summary: 'Makes a drive larger; takes one of a cluster out of service, or back',
        params: NameParams,
        body: DriveChangeBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ params, body }) => {
      const { service, sizeBytes } = body;
      if (service !== undefined) await drives.changeService(params.name, service);
      if (sizeBytes !== undefined) await drives.grow(params.name, sizeBytes);
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
  exchangeRoutes(app, parts);
}

/** A drive in the place of another, or on another node. */
function exchangeRoutes(app: App, parts: RestParts): void {
  const { drives } = parts;
  app.post(
    '/v1/drives/adopt',
    {
      schema: {
        summary: 'Takes over a drive of the cluster that another node had',
        body: DriveAdoptBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ body }) => driveView(parts, (await drives.adopt(body.path)).name),
  );
  app.post(
    '/v1/drives/:name/replace',
    {
      schema: {
        summary:
          'Adds a drive in the place of one, whose replicas leave and which is removed then: answers when it is',
        params: NameParams,
        body: DriveReplaceBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ params, body: { path, name, force = false } }) => {
      const added = await drives.replace(params.name, { path, name, force });
      return driveView(parts, added.name);
    },
  );
}
