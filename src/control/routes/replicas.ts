/** Routes of a volume's replicas. */

import { Refusal } from '../../model/errors.ts';
import type { VolumeRecord } from '../../model/records.ts';
import type { ScrubKeeper } from '../cluster/scrub-keeper.ts';
import type { App, RestParts } from '../rest.ts';
import { NameParams, Volume, problems } from '../schemas.ts';
import { Placement } from '../node-schemas.ts';
import { MoveBody, ScaleBody, Scrub, type ScrubView } from '../replica-schemas.ts';
import { timeOr } from '../views.ts';
import { volumeView } from './volumes.ts';

/** Adds them to the API. */
export function replicaRoutes(app: App, parts: RestParts): void {
  const params = NameParams;
  const response = { 200: Volume, ...problems };
  scrubRoutes(app, parts);
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

function scrubRoutes(app: App, parts: RestParts): void {
  const params = NameParams;
  app.get(
    '/v1/volumes/:name/scrub',
    {
      schema: {
        summary: 'Tells how far the copies of a volume were compared',
        params,
        response: { 200: Scrub, ...problems },
      },
    },
    ({ params: { name } }) => scrubView(parts, name),
  );
  app.post(
    '/v1/volumes/:name/scrub',
    {
      schema: {
        summary: 'Compares all copies of an attached volume, and repairs them; in the background',
        params,
        response: { 200: Scrub, ...problems },
      },
    },
    async ({ params: { name } }) => {
      const volume = await parts.volumes.get(name);
      await scrubsOf(parts, volume).scrub(volume);
      return scrubView(parts, name);
    },
  );
}

function scrubsOf({ scrubs }: RestParts, { name, replication }: VolumeRecord): ScrubKeeper {
  if (scrubs !== undefined && replication !== undefined) return scrubs;
  const problem = `volume "${name}" has one replica, on a drive of a single machine`;
  throw new Refusal('REPLICAS_INVALID', { wanted: 'a scrub', problem });
}

async function scrubView(parts: RestParts, name: string): Promise<ScrubView> {
  const volume = await parts.volumes.get(name);
  const { scrub, copies } = await scrubsOf(parts, volume).progress(volume);
  return {
    startedAt: timeOr(scrub?.startedAtMs),
    endedAt: timeOr(scrub?.endedAtMs),
    doneBytes: scrub?.offsetBytes ?? 0,
    totalBytes: volume.sizeBytes,
    copies: copies ?? null,
  };
}
