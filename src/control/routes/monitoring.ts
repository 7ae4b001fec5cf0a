/** Routes of those who watch over an installation: Prometheus, and people who ask what is wrong. */

import { Type } from 'typebox';

import type { App, RestParts } from '../rest.ts';
import { Explanation, NameParams, problems } from '../schemas.ts';

/** Adds them to the API. */
export function monitoringRoutes(app: App, { metrics, explainer }: RestParts): void {
  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Metrics in the text format of Prometheus',
        response: {
          200: {
            description: 'docs/monitoring.md has all of them',
            content: { 'text/plain': { schema: Type.String() } },
          },
          ...problems,
        },
      },
    },
    async (_, reply) => {
      const { contentType, text } = await metrics.read();
      return reply.type(contentType).send(text);
    },
  );
  app.get(
    '/v1/volumes/:name/explanation',
    {
      schema: {
        summary: 'Tells why a volume is not as it should be, and what ends it',
        params: NameParams,
        response: { 200: Explanation, ...problems },
      },
    },
    ({ params }) => explainer.explain(params.name),
  );
}
