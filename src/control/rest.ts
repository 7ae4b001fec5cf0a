/** The REST API: routes onto use cases. docs/openapi.json is generated from here. */

import { randomUUID } from 'node:crypto';

import swagger from '@fastify/swagger';
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import fastify, { type FastifyError, type FastifyInstance } from 'fastify';
import { Type } from 'typebox';

import { Fault, Refusal, errorRow } from '../model/errors.ts';
import type { Drives } from './drives.ts';
import type { RecordsStore } from './records-store.ts';
import {
  AttachmentBody,
  Drive,
  DriveBody,
  IdParams,
  MountBody,
  NameParams,
  Operation,
  ProblemDetails,
  type ProblemView,
  Released,
  Removed,
  ResizeBody,
  Status,
  type StatusView,
  Volume,
  VolumeBody,
  type DriveView,
  type VolumeView,
} from './schemas.ts';
import { viewDrive, viewOperation, viewVolume } from './views.ts';
import type { Volumes } from './volumes.ts';

const BODY_BYTES_MAX = 64 * 1024;

export type RestParts = {
  readonly version: string;
  readonly records: RecordsStore;
  readonly drives: Drives;
  readonly volumes: Volumes;
  readonly status: () => Promise<StatusView>;
  /** Unmounts and releases devices, for an orderly end. Resolves with what stood in the way. */
  readonly release: () => Promise<string[]>;
};

type App = ReturnType<typeof newApp>;

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
  driveRoutes(app, parts);
  volumeRoutes(app, parts);
  attachmentRoutes(app, parts);
  installationRoutes(app, parts);
  await app.ready();
  return app;
}

/** What went wrong, as RFC 9457 has it. */
export function problemOf(error: Error): ProblemView {
  const known = error instanceof Refusal || error instanceof Fault ? error : invalidOr(error);
  const { http } = errorRow(known.code);
  return {
    type: `https://holdfast.invalid/errors/${known.code}`,
    title: known.code,
    status: http,
    code: known.code,
    detail: known.message,
    ...(known.wayOut === undefined ? {} : { wayOut: known.wayOut }),
  };
}

function invalidOr(error: Error): Refusal | Fault {
  const { statusCode } = error as Partial<FastifyError>;
  if (statusCode !== undefined && statusCode < 500) {
    return new Refusal('INPUT_INVALID', { problem: error.message });
  }
  return new Fault('INTERNAL', { problem: error.message });
}

const problems = { '4xx': ProblemDetails, '5xx': ProblemDetails };

function driveRoutes(app: App, { records, drives }: RestParts): void {
  const view = async (name: string): Promise<DriveView> => {
    const record = await drives.get(name);
    return viewDrive(
      record,
      (await drives.engineStatus()).get(record.id),
      drives.progress.get(name),
    );
  };
  app.get(
    '/v1/drives',
    { schema: { summary: 'Lists drives', response: { 200: Type.Array(Drive), ...problems } } },
    async () => {
      const statuses = await drives.engineStatus();
      return (await records.drives()).map((record) =>
        viewDrive(record, statuses.get(record.id), drives.progress.get(record.name)),
      );
    },
  );
  app.post(
    '/v1/drives',
    {
      schema: {
        summary: 'Formats and adds a drive',
        body: DriveBody,
        response: { 200: Drive, ...problems },
      },
    },
    async ({ body }) => {
      const { name, path, sizeBytes, sparse = false, force = false } = body;
      await drives.add({ name, path, sizeBytes, sparse, force });
      return view(name);
    },
  );
  app.get(
    '/v1/drives/:name',
    {
      schema: {
        summary: 'Shows a drive',
        params: NameParams,
        response: { 200: Drive, ...problems },
      },
    },
    ({ params }) => view(params.name),
  );
  app.delete(
    '/v1/drives/:name',
    {
      schema: {
        summary: 'Removes a drive',
        params: NameParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await drives.remove(params.name) }),
  );
}

async function volumeView(volumes: Volumes, name: string): Promise<VolumeView> {
  const record = await volumes.get(name);
  return viewVolume(record, (await volumes.engineStatus()).get(record.id));
}

function volumeRoutes(app: App, { records, volumes }: RestParts): void {
  app.get(
    '/v1/volumes',
    { schema: { summary: 'Lists volumes', response: { 200: Type.Array(Volume), ...problems } } },
    async () => {
      const statuses = await volumes.engineStatus();
      return (await records.volumes()).map((record) => viewVolume(record, statuses.get(record.id)));
    },
  );
  app.post(
    '/v1/volumes',
    {
      schema: {
        summary: 'Creates a volume',
        body: VolumeBody,
        response: { 200: Volume, ...problems },
      },
    },
    async ({ body: { name, sizeBytes, drive } }) => {
      await volumes.create({ name, sizeBytes, drive });
      return volumeView(volumes, name);
    },
  );
  app.get(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Shows a volume',
        params: NameParams,
        response: { 200: Volume, ...problems },
      },
    },
    ({ params }) => volumeView(volumes, params.name),
  );
  app.patch(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Resizes a volume',
        params: NameParams,
        body: ResizeBody,
        response: { 200: Volume, ...problems },
      },
    },
    async ({ params, body }) => {
      await volumes.resize(params.name, body.sizeBytes);
      return volumeView(volumes, params.name);
    },
  );
  app.delete(
    '/v1/volumes/:name',
    {
      schema: {
        summary: 'Removes a volume',
        params: NameParams,
        response: { 200: Removed, ...problems },
      },
    },
    async ({ params }) => ({ removed: await volumes.remove(params.name) }),
  );
}

function attachmentRoutes(app: App, { volumes }: RestParts): void {
  const params = NameParams;
  const response = { 200: Volume, ...problems };
  app.put(
    '/v1/volumes/:name/attachment',
    { schema: { summary: 'Attaches a volume', params, body: AttachmentBody, response } },
    async ({ params: { name }, body }) => {
      await volumes.attach(name, body.as);
      return volumeView(volumes, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/attachment',
    { schema: { summary: 'Detaches a volume', params, response } },
    async ({ params: { name } }) => {
      await volumes.detach(name);
      return volumeView(volumes, name);
    },
  );
  app.put(
    '/v1/volumes/:name/mount',
    { schema: { summary: 'Attaches and mounts a volume', params, body: MountBody, response } },
    async ({ params: { name }, body }) => {
      await volumes.mount(name, { fsType: body.fs, path: body.path, force: body.force ?? false });
      return volumeView(volumes, name);
    },
  );
  app.delete(
    '/v1/volumes/:name/mount',
    { schema: { summary: 'Unmounts a volume', params, response } },
    async ({ params: { name } }) => {
      await volumes.unmount(name);
      return volumeView(volumes, name);
    },
  );
}

function installationRoutes(app: App, parts: RestParts): void {
  app.get(
    '/v1/status',
    {
      schema: { summary: 'Tells how the installation is', response: { 200: Status, ...problems } },
    },
    () => parts.status(),
  );
  app.get(
    '/v1/operations',
    {
      schema: {
        summary: 'Lists operations',
        response: { 200: Type.Array(Operation), ...problems },
      },
    },
    async () => (await parts.records.operations()).map(viewOperation),
  );
  app.get(
    '/v1/operations/:id',
    {
      schema: {
        summary: 'Shows an operation',
        params: IdParams,
        response: { 200: Operation, ...problems },
      },
    },
    async ({ params: { id } }) => {
      const record = await parts.records.operation(id);
      if (record === undefined) throw new Refusal('OPERATION_NOT_FOUND', { operation: id });
      return viewOperation(record);
    },
  );
  app.post(
    '/v1/release',
    {
      schema: {
        summary: 'Unmounts and releases all devices, before an orderly end',
        response: { 200: Released, ...problems },
      },
    },
    async () => ({ problems: await parts.release() }),
  );
}
