/** Routes of the nodes of a cluster. */

import { Type } from 'typebox';

import { Effect, Node, NodeChangeBody, WhatIfQuery } from '../node-schemas.ts';
import type { App, RestParts } from '../rest.ts';
import { NameParams, Removed, problems } from '../schemas.ts';

/** Adds them to the API. */
export function nodeRoutes(app: App, { nodes }: RestParts): void {
  app.get(
    '/v1/nodes',
    {
      schema: {
        summary: 'Lists the nodes of the cluster; none on a single machine',
        response: { 200: Type.Array(Node), ...problems },
      },
    },
    () => nodes.list(),
  );
  app.get(
    '/v1/nodes/:name',
    {
      schema: {
        summary: 'Shows a node',
        params: NameParams,
        response: { 200: Node, ...problems },
      },
    },
    ({ params }) => nodes.get(params.name),
  );
  app.patch(
    '/v1/nodes/:name',
    {
      schema: {
        summary: 'Labels a node; takes it out of service, or back',
        params: NameParams,
        body: NodeChangeBody,
        response: { 200: Node, ...problems },
      },
    },
    ({ params, body }) => nodes.change(params.name, body),
  );
  app.post(
    '/v1/nodes/:name/lost',
    {
      schema: {
        summary: 'Names a node as lost, whose replicas restored records wait for',
        params: NameParams,
        response: { 200: Node, ...problems },
      },
    },
    ({ params }) => nodes.giveUp(params.name),
  );
  app.delete(
    '/v1/nodes/:name',
    {
      schema: {
        summary: 'Takes a node that is gone out of the cluster, with its drives',
        params: NameParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await nodes.remove(params.name) }),
  );
  app.get(
    '/v1/what-if',
    {
      schema: {
        summary:
          'Tells which volumes would stop or lose redundancy, before a node or more are lost or drained',
        querystring: WhatIfQuery,
        response: { 200: Type.Array(Effect), ...problems },
      },
    },
    ({ query: { event, level = 'node', domain } }) => nodes.whatIf({ kind: event, level, domain }),
  );
}
