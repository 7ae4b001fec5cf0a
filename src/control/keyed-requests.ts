/** Idempotency keys on the REST API: hooks around every route that changes something. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { Refusal } from '../model/errors.ts';
import { fingerprintOf } from './request-context.ts';
import { type KeyedRequest, RequestKeys, type StoredAnswer } from './request-keys.ts';
import { CHANGING, accept, asyncWaitMs, keyOf } from './respond-async.ts';
import type { RestParts } from './rest.ts';
import { ChangeHeaders } from './schemas.ts';
import { outcomeOf } from './routes/operations.ts';
import { viewOperation } from './views.ts';

/** Clients wait longer than this for an answer. */
const WAIT_MS = 60_000;

type UnderWay = {
  readonly request: KeyedRequest;
  readonly leave: () => void;
  /** The answer came from an earlier request, and is kept already. */
  isRepeated: boolean;
};

/** Adds the hooks. To be called before the routes are. */
export function addRequestKeys(app: FastifyInstance, parts: RestParts): void {
  const keys = new RequestKeys(parts.records, parts.wallMs);
  const underWay = new WeakMap<FastifyRequest, UnderWay>();

  app.addHook('onRoute', (route) => {
    if (!CHANGING.includes(String(route.method))) return;
    route.schema = { ...route.schema, headers: ChangeHeaders };
  });
  app.addHook('preHandler', async (request, reply) => {
    const keyed = keyedRequest(request);
    if (keyed === undefined) return;
    const mine: UnderWay = {
      request: keyed,
      leave: await keys.enter(keyed.key),
      isRepeated: false,
    };
    underWay.set(request, mine);
    const asyncMs = asyncWaitMs(request);
    const earlier = await keys.earlier(keyed, asyncMs ?? WAIT_MS);
    if (earlier === undefined) return;
    if ('body' in earlier) {
      mine.isRepeated = true;
      await repeat(reply, earlier);
    } else if (earlier.state === 'done') {
      await reply.send(await outcomeOf(parts, earlier));
    } else if (asyncMs === undefined) {
      throw new Refusal('OPERATION_RUNNING', { operation: earlier.kind, id: earlier.id });
    } else {
      await reply.send(accept(reply, viewOperation(earlier, parts.progress.of(earlier.target))));
    }
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const mine = underWay.get(request);
    const isDone = reply.statusCode === 200 && typeof payload === 'string';
    if (mine !== undefined && !mine.isRepeated && isDone) {
      await keys.keep(mine.request, { status: reply.statusCode, body: payload });
    }
    return payload;
  });
  app.addHook('onResponse', async (request) => underWay.get(request)?.leave());
}

function keyedRequest(request: FastifyRequest): KeyedRequest | undefined {
  const key = keyOf(request);
  if (key === undefined || !CHANGING.includes(request.method)) return undefined;
  return { key, fingerprint: fingerprintOf(request.method, request.url, request.body) };
}

async function repeat(reply: FastifyReply, { status, body }: StoredAnswer): Promise<void> {
  await reply
    .code(status)
    .header('idempotent-replayed', 'true')
    .type('application/json; charset=utf-8')
    .send(body);
}
