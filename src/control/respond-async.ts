/**
 * `Prefer: respond-async` (RFC 7240) on every route that changes something: where the change takes longer than `wait=SECONDS`, the answer
 * is 202 with its operation, which goes on. The same request again finds the operation that carries it out already.
 */

import { setTimeout as sleep } from 'node:timers/promises';

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import type { OperationRecord } from '../model/records.ts';
import { asRequest, fingerprintOf } from './request-context.ts';
import { KeyedRequests, type Work } from './keyed-requests.ts';
import type { RestParts } from './rest.ts';
import { ChangeHeaders } from './schemas.ts';
import { Operation, type OperationView } from './operation-schemas.ts';
import { viewOperation } from './views.ts';

/** Methods of the routes that change something. */
const CHANGING: readonly string[] = ['POST', 'PUT', 'PATCH', 'DELETE'];
/** A client that waits longer asks again. */
const WAIT_S_MAX = 60;
/** A request that has begun nothing after so long may be waiting behind its own like. */
const LOOK_MS = 1000;

/** Adds it, and idempotency keys. To be called before the routes are. */
export function addRespondAsync(app: FastifyInstance, parts: RestParts): void {
  const keyed = new KeyedRequests(parts);
  app.addHook('onRoute', (route) => {
    if (!CHANGING.includes(String(route.method))) return;
    const { handler } = route;
    const response = { ...(route.schema?.response as object | undefined), 202: Operation };
    route.schema = { ...route.schema, headers: ChangeHeaders, response };
    route.handler = async function carryOut(request, reply) {
      const key = keyOf(request);
      const fingerprint = fingerprintOf(request.method, request.url, request.body);
      const begun = Promise.withResolvers<OperationRecord>();
      const context = { key, fingerprint, onBegun: begun.resolve };
      // Asynchronous whatever the handler is: it may throw at once.
      const act = (): Promise<unknown> =>
        asRequest(context, async () => handler.call(this, request, reply));
      const serialize = (answer: unknown): string =>
        reply.serializeInput(answer as Record<string, unknown>, '200') as string;
      const work: Work =
        key === undefined
          ? { begun: begun.promise, answer: act().then((body) => ({ body, isReplayed: false })) }
          : keyed.work({ key, fingerprint }, { begun, serialize, carryOut: act });
      const first = await firstOf(parts, { work, fingerprint, waitMs: asyncWaitMs(request) });
      if ('kind' in first) {
        return accept(reply, viewOperation(first, parts.progress.of(first.target)));
      }
      if (first.isReplayed) void reply.header('idempotent-replayed', 'true');
      if (key !== undefined) void reply.type('application/json; charset=utf-8');
      return first.body;
    };
  });
}

/** The answer, or the operation where that takes longer than the client waits. */
async function firstOf(
  parts: RestParts,
  options: {
    readonly work: Work;
    readonly fingerprint: string;
    readonly waitMs: number | undefined;
  },
): Promise<OperationRecord | Awaited<Work['answer']>> {
  const { work, fingerprint, waitMs } = options;
  if (waitMs === undefined) return work.answer;
  const late = lateOperation(parts, { begun: work.begun, fingerprint, waitMs });
  const answered = work.answer.finally(late.stop);
  // How it ends, its operation tells those who no longer wait.
  answered.catch(() => undefined);
  return Promise.race([answered, late.operation]);
}

/** The idempotency key of a request, if it has one. */
function keyOf({ headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'];
  return typeof key === 'string' ? key : undefined;
}

/** How long a request that prefers an operation to its answer waits for that; undefined where it waits as long as it takes. */
function asyncWaitMs({ headers }: FastifyRequest): number | undefined {
  const preferences = String(headers['prefer'] ?? '')
    .split(/[,;]/)
    .map((preference) => preference.trim().toLowerCase());
  if (!preferences.includes('respond-async')) return undefined;
  const [, seconds = '0'] = /(?:^|,)wait="?(\d{1,9})"?(?:,|$)/.exec(preferences.join()) ?? [];
  return Math.min(WAIT_S_MAX, Number(seconds)) * 1000;
}

/** Answers 202: the operation, and where to look at it. */
function accept(reply: FastifyReply, operation: OperationView): OperationView {
  void reply
    .code(202)
    .header('location', `/v1/operations/${operation.id}`)
    .header('preference-applied', 'respond-async');
  return operation;
}

/** The operation that carries a request out, once the client has waited long enough for the answer. */
function lateOperation(
  { records }: RestParts,
  options: {
    readonly begun: Promise<OperationRecord>;
    readonly fingerprint: string;
    readonly waitMs: number;
  },
): { readonly operation: Promise<OperationRecord>; readonly stop: () => void } {
  const { begun, fingerprint, waitMs } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const like = async (): Promise<OperationRecord> => {
    await sleep(LOOK_MS, undefined, { signal });
    const known = (await records.operations()).find(
      ({ state, request }) => state === 'running' && request === fingerprint,
    );
    return known ?? begun;
  };
  const late = Promise.all([Promise.race([begun, like()]), sleep(waitMs, undefined, { signal })]);
  const operation = late.then(([found]) => found);
  // Stopped, or without its store: the answer decides.
  operation.catch(() => undefined);
  return { operation, stop: () => stopping.abort() };
}
