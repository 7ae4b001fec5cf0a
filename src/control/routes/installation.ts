/** Routes of the installation as a whole. */

import type { App, RestParts } from '../rest.ts';
import { Released, Status, problems } from '../schemas.ts';

/** Adds them to the API. */
export function installationRoutes(app: App, parts: RestParts): void {
  app.get(
    '/v1/status',
    {
      schema: { summary: 'Tells how the installation is', response: { 200: Status, ...problems } },
    },
    () => parts.status(),
  );
  app.post(
    '/v1/release',
    {
      schema: {
        summary: 'Unmounts and releases all devices, before an orderly end',
        response: { 200: Released, ...problems },
      },
    },
    () => parts.release(),
  );
}
