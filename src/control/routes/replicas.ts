/** Routes of a volume's replicas. */

import type { App, RestParts } from '../rest.ts';
import { NameParams, Volume, problems } from '../schemas.ts';
import { Placement } from '../node-schemas.ts';
import { MoveBody, ScaleBody } from '../replica-schemas.ts';
import { volumeView } from './volumes.ts';

/** Adds them to the API. */
export function replicaRoutes(app: App, parts: RestParts): void {
  const params = NameParams;
  const response = { 200: Volume, ...problems };
  app.get(
    '/v1/volumes/:name/placement',
    {
      schema: {
        summary: 'Tells where the replicas of a volume would go if all were placed now, and why',
        params,
        response: { 200: Placement, ...problems },
      },
    },
    async ({ params: { name } }) => parts.nodes.placementOf(await parts.volumes.get(name)),
  );
  app.put(
    '/v1/volumes/:name/replicas',
    {
      schema: {
        summary: 'Wants another number of replicas; they are made, or go, in the background',
        params,
        body: ScaleBody,
        response,
      },
    },
    async ({ params: { name }, body }) => {
      await parts.replicaChanges.scale(name, body.count);
      return volumeView(parts, name);
    },
  );
  app.post(
    '/v1/volumes/:name/replicas/move',
    {
      schema: {
        summary: 'Wants a replica elsewhere; it goes once another is in sync',
        params,
        body: MoveBody,
        response,
      },
    },
    async ({ params: { name }, body }) => {
      await parts.replicaChanges.move(name, body.from);
      return volumeView(parts, name);
    },
  );
}
