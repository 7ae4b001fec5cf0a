/** HTTP of the Docker volume plugin protocol, for Docker and Podman. */

import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify, { type FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';

import { Refusal } from '../../model/errors.ts';
import { problemOf } from '../problem.ts';
import { asNobody } from '../request-context.ts';
import { schemaController } from '../schema-compilers.ts';
import type { VolumeDriver } from './volume-driver.ts';

const BODY_BYTES_MAX = 64 * 1024;
const MEDIA_TYPE = 'application/vnd.docker.plugins.v1.1+json';

const Call = Type.Object({
  Name: Type.Optional(Type.String()),
  ID: Type.Optional(Type.String({ maxLength: 255 })),
  Opts: Type.Optional(Type.Union([Type.Record(Type.String(), Type.String()), Type.Null()])),
});
type Call = Static<typeof Call>;

/** The calls by their paths, as the protocol has them. */
function callsOf(driver: VolumeDriver): Readonly<Record<string, (call: Call) => Promise<object>>> {
  return {
    'Plugin.Activate': async () => ({ Implements: ['VolumeDriver'] }),
    // A volume is of one machine.
    'VolumeDriver.Capabilities': async () => ({ Capabilities: { Scope: 'local' } }),
    'VolumeDriver.Create': async (call) => {
      await driver.create(nameOf(call), call.Opts ?? {});
      return {};
    },
    'VolumeDriver.Remove': async (call) => {
      await driver.remove(nameOf(call));
      return {};
    },
    'VolumeDriver.Mount': async (call) => ({
      Mountpoint: await driver.mount(nameOf(call), call.ID ?? ''),
    }),
    'VolumeDriver.Unmount': async (call) => {
      await driver.unmount(nameOf(call), call.ID ?? '');
      return {};
    },
    'VolumeDriver.Path': async (call) => ({ Mountpoint: await driver.path(nameOf(call)) }),
    'VolumeDriver.Get': async (call) => ({ Volume: await driver.get(nameOf(call)) }),
    'VolumeDriver.List': async () => ({ Volumes: await driver.list() }),
  };
}

/** moby's plugin client repeats a call whose connection was cut, and has lost its content by then. */
function nameOf({ Name = '' }: Call): string {
  if (Name !== '') return Name;
  const problem =
    'it names no volume. Docker does so when it repeats a call that was cut off: try again';
  throw new Refusal('INPUT_INVALID', { problem });
}

/** The server, not yet listening. */
export async function openPluginServer(driver: VolumeDriver): Promise<FastifyInstance> {
  const app = fastify({
    schemaController,
    bodyLimit: BODY_BYTES_MAX,
    forceCloseConnections: 'idle',
  }).withTypeProvider<TypeBoxTypeProvider>();
  // Docker names no content type, Podman one of its own.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, text, done) => {
    try {
      done(null, text === '' ? {} : JSON.parse(String(text)));
    } catch (error) {
      done(new Refusal('INPUT_INVALID', { problem: `it is no JSON: ${String(error)}` }));
    }
  });
  app.addHook('preValidation', async (request) => {
    request.body ??= {};
  });
  for (const [path, answer] of Object.entries(callsOf(driver))) {
    // Node runs a server's connections for the request that had it listen.
    app.post(`/${path}`, { schema: { body: Call } }, async ({ body }, reply) =>
      reply.type(MEDIA_TYPE).send({ ...(await asNobody(() => answer(body))), Err: '' }),
    );
  }
  // Podman looks at the status alone, others at Err alone.
  app.setErrorHandler((error, _, reply) => {
    const { detail, wayOut } = problemOf(error as Error);
    const sentence = /[.?]$/.test(detail) ? detail : `${detail}.`;
    const words = wayOut === undefined ? detail : `${sentence} ${wayOut}`;
    return reply.code(500).type(MEDIA_TYPE).send({ Err: words });
  });
  // Engines ask so whether a call is known.
  app.setNotFoundHandler(({ method, url }, reply) => {
    const { message } = new Refusal('ROUTE_NOT_FOUND', { method, path: url });
    return reply.code(404).type(MEDIA_TYPE).send({ Err: message });
  });
  await app.ready();
  return app;
}
