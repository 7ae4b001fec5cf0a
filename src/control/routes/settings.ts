/** Routes of the settings of the installation. */

import { checkSettings } from '../../model/settings.ts';
import type { App, RestParts } from '../rest.ts';
import { Settings, SettingsChange, problems } from '../schemas.ts';
import { viewSettings } from '../views.ts';

/** Adds them to the API. */
export function settingsRoutes(app: App, { records }: RestParts): void {
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
    async ({ body }) => {
      checkSettings(body);
      await records.putSettings(body);
      return viewSettings(await records.settings());
    },
  );
}
