/** Routes of volume plugins. */

import { type Static, Type } from 'typebox';

import type { PluginState } from '../docker/plugins.ts';
import type { App, RestParts } from '../rest.ts';
import { NameParams, Removed, problems } from '../schemas.ts';

const Plugin = Type.Object({
  name: Type.String(),
  socket: Type.String({ description: 'Where Docker and Podman find it' }),
  state: Type.String({ description: 'listening or away' }),
  reason: Type.Union([Type.String(), Type.Null()]),
});
export type PluginView = Static<typeof Plugin>;

const viewOf = ({ name, socketPath, problem }: PluginState): PluginView => ({
  name,
  socket: socketPath,
  state: problem === undefined ? 'listening' : 'away',
  reason: problem ?? null,
});

/** Adds them to the API. */
export function dockerPluginRoutes(app: App, { plugins }: RestParts): void {
  const params = NameParams;
  app.get(
    '/v1/docker-plugins',
    {
      schema: {
        summary: 'Lists volume plugins',
        response: { 200: Type.Array(Plugin), ...problems },
      },
    },
    async () => (await plugins.list()).map(viewOf),
  );
  app.put(
    '/v1/docker-plugins/:name',
    {
      schema: {
        summary: 'Serves the Docker volume plugin protocol, for Docker and Podman',
        params,
        response: { 200: Plugin, ...problems },
      },
    },
    async ({ params: { name } }) => viewOf(await plugins.enable(name)),
  );
  app.delete(
    '/v1/docker-plugins/:name',
    {
      schema: {
        summary: 'Ends a volume plugin; volumes and mounts stay',
        params,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params: { name } }) => ({ removed: await plugins.disable(name) }),
  );
}
