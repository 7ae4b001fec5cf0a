/** Routes of the settings of the installation. */

import type { App, RestParts } from '../rest.ts';
import { Settings, SettingsChange, problems } from '../schemas.ts';
import { viewSettings } from '../views.ts';

/** Adds them to the API. */
export function settingsRoutes(app: App, { records, changeSettings }: RestParts): void {
  app.get(
    '/v1/settings',
    {
      schema: { summary: 'Shows the settings', response: { 200: Settings, ...problems } },
    },
    async () => viewSettings(await records.settings()),
  );
  app.patch(
    '/v1/settings',
    {
      schema: {
        summary: 'Changes settings; those that are not named stay',
        body: SettingsChange,
        response: { 200: Settings, ...problems },
      },
    },
    async ({ body }) => viewSettings(await changeSettings(body)),
  );
}
