/** Routes of join tokens. */

import { Type } from 'typebox';

import { JoinPlace, JoinToken, JoinTokenParams } from '../node-schemas.ts';
import type { App, RestParts } from '../rest.ts';
import { Removed, problems } from '../schemas.ts';

/** Adds them to the API. */
export function joinTokenRoutes(app: App, { joinTokens }: RestParts): void {
  app.get(
    '/v1/join-tokens',
    {
      schema: {
        summary: 'Lists the tokens with which machines become nodes',
        response: { 200: Type.Array(JoinToken), ...problems },
      },
    },
    () => joinTokens.list(),
  );
  app.put(
    '/v1/join-tokens/:id',
    {
      schema: {
        summary:
          'Lets a machine become a node, for a day: the one that has the secret of this hash',
        params: JoinTokenParams,
        response: { 200: JoinPlace, ...problems },
      },
    },
    ({ params }) => joinTokens.make(params.id),
  );
  app.delete(
    '/v1/join-tokens/:id',
    {
      schema: {
        summary: 'Revokes a token; a node that it has made stays',
        params: JoinTokenParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await joinTokens.revoke(params.id) }),
  );
}
