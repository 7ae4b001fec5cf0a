/** The REST API: routes onto use cases. docs/openapi.json is generated from here. */

import { randomUUID } from 'node:crypto';

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyInstance } from 'fastify';

import { Refusal } from '../model/errors.ts';
import type { Settings } from '../model/settings.ts';
import type { ReplicaChanges } from './cluster/replica-changes.ts';
import type { ScrubKeeper } from './cluster/scrub-keeper.ts';
import type { VolumePlugins } from './docker/plugins.ts';
import type { JoinTokens } from './cluster/join-tokens.ts';
import type { NodeRegistry } from './cluster/node-registry.ts';
import type { Drives } from './drives.ts';
import type { Explainer } from './explainer.ts';
import { onClientError, problemOf, sendProblem, sendRawProblem } from './problem.ts';
import type { ProgressBoard } from './progress.ts';
import type { Metrics } from './metrics.ts';
import type { RecordsStore } from './records-store.ts';
import { addRespondAsync } from './respond-async.ts';
import { attachmentRoutes } from './routes/attachments.ts';
import { dockerPluginRoutes } from './routes/docker-plugins.ts';
import { driveRoutes } from './routes/drives.ts';
import { installationRoutes } from './routes/installation.ts';
import { joinTokenRoutes } from './routes/join-tokens.ts';
import { nodeRoutes } from './routes/nodes.ts';
import { operationRoutes } from './routes/operations.ts';
import { replicaRoutes } from './routes/replicas.ts';
import { settingsRoutes } from './routes/settings.ts';
import { trashRoutes } from './routes/trash.ts';
import { monitoringRoutes } from './routes/monitoring.ts';
import { volumeRoutes } from './routes/volumes.ts';
import { watchRoutes } from './routes/watch.ts';
import { schemaController } from './schema-compilers.ts';
import type { ReleasedView, StatusView } from './schemas.ts';
import { type TcpApiOptions, addTokenCheck } from './tcp-api.ts';
import type { Trash } from './trash.ts';
import type { Volumes } from './volumes.ts';

const BODY_BYTES_MAX = 64 * 1024;
const URL_NAME_LENGTH_MAX = 4096;

export type RestParts = {
  readonly version: string;
  readonly records: RecordsStore;
  readonly progress: ProgressBoard;
  readonly drives: Drives;
  readonly volumes: Volumes;
  readonly trash: Trash;
  readonly replicaChanges: ReplicaChanges;
  /** Undefined on a single machine. */
  readonly scrubs: ScrubKeeper | undefined;
  readonly nodes: NodeRegistry;
  readonly joinTokens: JoinTokens;
  readonly plugins: VolumePlugins;
  readonly metrics: Metrics;
  readonly explainer: Explainer;
  readonly wallMs: () => number;
  readonly status: () => Promise<StatusView>;
  readonly changeSettings: (changed: Partial<Settings>) => Promise<Settings>;
  /** Unmounts and releases devices, for an orderly end. As the route of it answers. */
  readonly release: () => Promise<ReleasedView>;
  readonly tcp: TcpApiOptions;
};

export type App = ReturnType<typeof newApp>;

function newApp() {
  return fastify({
    schemaController,
    bodyLimit: BODY_BYTES_MAX,
    genReqId: () => randomUUID(),
    // A name that is too long is told so by its rule.
    routerOptions: { maxParamLength: URL_NAME_LENGTH_MAX },
    frameworkErrors: (error, _, reply) => sendRawProblem(reply, error),
    clientErrorHandler: onClientError,
    return503OnClosing: false,
  }).withTypeProvider<TypeBoxTypeProvider>();
}

/** The API, not yet listening. `beforeRoutes` adds what has to know them all. */
export async function openRest(
  parts: RestParts,
  beforeRoutes?: (app: App) => Promise<void>,
): Promise<FastifyInstance> {
  const app = newApp();
  await beforeRoutes?.(app);
  app.setErrorHandler((error, request, reply) => {
    const problem = problemOf(error as Error, request);
    if (problem.status >= 500) request.log.error(error);
    return sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const { method, url } = request;
    return sendProblem(reply, problemOf(new Refusal('ROUTE_NOT_FOUND', { method, path: url })));
  });
  addTokenCheck(app, parts.tcp);
  refuseWhileClosing(app);
  addRespondAsync(app, parts);
  driveRoutes(app, parts);
  volumeRoutes(app, parts);
  replicaRoutes(app, parts);
  trashRoutes(app, parts);
  nodeRoutes(app, parts);
  joinTokenRoutes(app, parts);
  settingsRoutes(app, parts);
  attachmentRoutes(app, parts);
  installationRoutes(app, parts);
  operationRoutes(app, parts);
  dockerPluginRoutes(app, parts);
  watchRoutes(app, parts);
  monitoringRoutes(app, parts);
  await app.ready();
  return app;
}

/** Connections are kept alive: what still comes on one is told that this is the end. */
function refuseWhileClosing(app: App): void {
  let isClosing = false;
  app.addHook('preClose', async () => {
    isClosing = true;
  });
  app.addHook('onRequest', async () => {
    if (isClosing) throw new Refusal('INSTALLATION_STOPPING');
  });
}
