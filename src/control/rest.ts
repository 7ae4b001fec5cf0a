/** The REST API: routes onto use cases. docs/openapi.json is generated from here. */

import { randomUUID } from 'node:crypto';

import swagger from '@fastify/swagger';
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify, { type FastifyInstance } from 'fastify';

import { Refusal } from '../model/errors.ts';
import type { Drives } from './drives.ts';
import { addRequestKeys } from './keyed-requests.ts';
import { problemOf } from './problem.ts';
import type { RecordsStore } from './records-store.ts';
import { attachmentRoutes } from './routes/attachments.ts';
import { driveRoutes } from './routes/drives.ts';
import { installationRoutes } from './routes/installation.ts';
import { settingsRoutes } from './routes/settings.ts';
import { trashRoutes } from './routes/trash.ts';
import { volumeRoutes } from './routes/volumes.ts';
import { watchRoutes } from './routes/watch.ts';
import type { StatusView } from './schemas.ts';
import type { Trash } from './trash.ts';
import type { Volumes } from './volumes.ts';

const BODY_BYTES_MAX = 64 * 1024;

export type RestParts = {
  readonly version: string;
  readonly records: RecordsStore;
  readonly drives: Drives;
  readonly volumes: Volumes;
  readonly trash: Trash;
  readonly wallMs: () => number;
  readonly status: () => Promise<StatusView>;
  /** Unmounts and releases devices, for an orderly end. Resolves with what stood in the way. */
  readonly release: () => Promise<string[]>;
};

export type App = ReturnType<typeof newApp>;

function newApp() {
  return fastify({
    bodyLimit: BODY_BYTES_MAX,
    genReqId: () => randomUUID(),
    // What no route sees, such as a URL that cannot be decoded.
    frameworkErrors: (error, _, reply) => {
      const problem = problemOf(error);
      reply.hijack();
      reply.raw.writeHead(problem.status, { 'content-type': 'application/problem+json' });
      reply.raw.end(JSON.stringify(problem));
    },
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>();
}

/** The API, not yet listening. */
export async function openRest(parts: RestParts): Promise<FastifyInstance> {
  const app = newApp();
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Holdfast',
        version: parts.version,
        description: 'The control plane of one installation',
      },
    },
  });
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error as Error);
    if (problem.status >= 500) request.log.error(error);
    return reply.code(problem.status).type('application/problem+json').send(problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const { method, url } = request;
    const problem = problemOf(new Refusal('ROUTE_NOT_FOUND', { method, path: url }));
    return reply.code(problem.status).type('application/problem+json').send(problem);
  });
  addRequestKeys(app, parts);
  driveRoutes(app, parts);
  volumeRoutes(app, parts);
  trashRoutes(app, parts);
  settingsRoutes(app, parts);
  attachmentRoutes(app, parts);
  installationRoutes(app, parts);
  watchRoutes(app, parts);
  await app.ready();
  return app;
}
