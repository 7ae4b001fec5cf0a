/** Idempotency keys on the REST API: hooks around every route that changes something. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { OperationRecord } from '../model/records.ts';
import {
  type KeyedRequest,
  RequestKeys,
  type StoredAnswer,
  asRequest,
  fingerprintOf,
} from './request-keys.ts';
import type { RestParts } from './rest.ts';
import { IdempotencyKey } from './schemas.ts';
import { driveView } from './routes/drives.ts';
import { trashedView } from './routes/trash.ts';
import { volumeView } from './routes/volumes.ts';

/** Clients wait longer than this for an answer. */
const WAIT_MS = 60_000;
const CHANGING = ['POST', 'PUT', 'PATCH', 'DELETE'];

type UnderWay = {
  readonly request: KeyedRequest;
  readonly leave: () => void;
  /** The answer came from an earlier request, and is kept already. */
  isRepeated: boolean;
};

/** Adds the hooks. To be called before the routes are. */
export function addRequestKeys(app: FastifyInstance, parts: RestParts): void {
  const keys = new RequestKeys(parts.records, { wallMs: parts.wallMs, waitMs: WAIT_MS });
  const underWay = new WeakMap<FastifyRequest, UnderWay>();

  app.addHook('onRoute', (route) => {
    if (!CHANGING.includes(String(route.method))) return;
    route.schema = { ...route.schema, headers: IdempotencyKey };
  });
  app.addHook('preHandler', async (request, reply) => {
    const keyed = keyOf(request);
    if (keyed === undefined) return;
    const mine: UnderWay = {
      request: keyed,
      leave: await keys.enter(keyed.key),
      isRepeated: false,
    };
    underWay.set(request, mine);
    const earlier = await keys.earlier(keyed);
    if (earlier === undefined) return;
    if ('body' in earlier) {
      mine.isRepeated = true;
      await repeat(reply, earlier);
    } else await reply.send(await outcomeOf(parts, earlier));
  });
  app.addHook('preHandler', (request, _, done) => {
    const mine = underWay.get(request);
    if (mine === undefined) done();
    else asRequest(mine.request, done);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const mine = underWay.get(request);
    const isDone = reply.statusCode < 300 && typeof payload === 'string';
    if (mine !== undefined && !mine.isRepeated && isDone) {
      await keys.keep(mine.request, { status: reply.statusCode, body: payload });
    }
    return payload;
  });
  app.addHook('onResponse', async (request) => underWay.get(request)?.leave());
}

function keyOf(request: FastifyRequest): KeyedRequest | undefined {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || !CHANGING.includes(request.method)) return undefined;
  return { key, fingerprint: fingerprintOf(request.method, request.url, request.body) };
}

async function repeat(reply: FastifyReply, { status, body }: StoredAnswer): Promise<void> {
  await reply
    .code(status)
    .header('idempotent-replayed', 'true')
    .type('application/json; charset=utf-8')
    .send(body);
}

/** The answer to a request whose operation is done, and which control did not live to answer: what has become of its target. */
async function outcomeOf(parts: RestParts, operation: OperationRecord): Promise<object> {
  const { kind, target, startedAtMs } = operation;
  const name = target.slice(target.indexOf('/') + 1);
  if (kind === 'drive.remove' || kind === 'trash.purge') return { removed: true };
  if (kind === 'volume.remove') {
    const trash = await parts.records.trash();
    const kept = trash.find(
      ({ volume, removedAtMs }) => volume.name === name && removedAtMs >= startedAtMs,
    );
    return { removed: true, trash: kept === undefined ? null : await trashedView(parts, kept) };
  }
  return kind.startsWith('drive.') ? driveView(parts, name) : volumeView(parts, name);
}
