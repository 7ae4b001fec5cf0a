/** What happens, as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */

import type { FastifyReply } from 'fastify';
import { Type } from 'typebox';

import { Fault, Refusal } from '../../model/errors.ts';
import {
  type Change,
  type ChangeKind,
  type ShownKind,
  CHANGE_KINDS,
  changesIn,
  placeOf,
} from '../changes.ts';
import { problemOf } from '../problem.ts';
import type { ProgressBoard } from '../progress.ts';
import type { App, RestParts } from '../rest.ts';
import { Event, EventQuery, WatchQuery } from '../event-schemas.ts';
import { problems } from '../schemas.ts';
import { isLetIn } from '../tcp-api.ts';
import { viewEvent, viewOperation } from '../views.ts';
import { driveView } from './drives.ts';
import { trashedView } from './trash.ts';
import { volumeView } from './volumes.ts';

/** A client that went away without a word is noticed by what cannot be sent to it. */
const COMMENT_EVERY_MS = 15_000;

/** Adds them to the API. */
export function watchRoutes(app: App, parts: RestParts): void {
  const ending = new AbortController();
  app.addHook('preClose', async () => ending.abort());
  app.get(
    '/v1/events',
    {
      schema: {
        summary: 'Lists what happened by itself, the newest first',
        querystring: EventQuery,
        response: { 200: Type.Array(Event), ...problems },
      },
    },
    async ({ query: { subject } }) =>
      (await parts.records.events())
        .filter((event) => subject === undefined || event.subject === subject)
        .map(viewEvent),
  );
  app.get(
    '/v1/watch',
    {
      schema: {
        summary: 'Tells every change as a server-sent event; Last-Event-ID goes on after one',
        querystring: WatchQuery,
        response: {
          200: {
            description: 'Events volume, drive, trash, operation and event: {"name", "object"}',
            content: { 'text/event-stream': { schema: Type.String() } },
          },
          ...problems,
        },
      },
    },
    async (request, reply) => {
      const { query, headers } = request;
      const last = headers['last-event-id'];
      const newest = await parts.records.revision();
      const after = typeof last === 'string' ? placeOf(last) : { revision: newest + 1, count: 0 };
      // Of another installation, or of this one before it was put back to an older state.
      if (typeof last === 'string' && after.revision > newest) {
        throw new Refusal('STORE_COMPACTED', { revision: after.revision, oldest: 1, newest });
      }
      const gone = new AbortController();
      const mayTell = (): boolean => {
        if (!isLetIn(request, parts.tcp)) gone.abort();
        return !gone.signal.aborted;
      };
      reply.raw.once('close', () => gone.abort());
      const signal = AbortSignal.any([gone.signal, ending.signal]);
      const kinds: readonly ChangeKind[] = query.kind ?? CHANGE_KINDS;
      const changes = changesIn(parts.records.watch(after.revision - 1, signal), {
        after,
        kinds,
        view: (kind, name) => present(parts, kind, name),
      });
      const first = changes.next();
      // What is refused at once is refused as any request is.
      await Promise.race([first, new Promise(setImmediate)]);
      const progress = kinds.includes('operation') ? parts.progress : undefined;
      await stream(reply, { first, rest: changes, signal, mayTell, progress });
    },
  );
}

async function present(parts: RestParts, kind: ShownKind, name: string): Promise<object | null> {
  try {
    if (kind === 'drive') return await driveView(parts, name);
    if (kind === 'volume') return await volumeView(parts, name);
    return await trashedView(parts, await parts.trash.get(name));
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}

type Stream = {
  readonly first: Promise<IteratorResult<Change, unknown>>;
  readonly rest: AsyncGenerator<Change>;
  readonly signal: AbortSignal;
  /** False, and the signal aborts, when the token with which the client came is no longer the one. */
  readonly mayTell: () => boolean;
  /** To be told as well. */
  readonly progress: ProgressBoard | undefined;
};

/** Sends changes as fast as the client takes them, until it goes or the API ends. */
async function stream(reply: FastifyReply, parts: Stream): Promise<void> {
  const { first, rest, signal, mayTell, progress } = parts;
  reply.hijack();
  const { raw } = reply;
  raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  raw.write(': watching\n\n');
  // Without an id, since no later watch can go on after it; of a client that is slow to take it, the next one will do.
  const forget = progress?.watch((operation, at) => {
    const object = viewOperation(operation, at);
    if (!raw.writableNeedDrain && mayTell())
      raw.write(eventText('operation', { name: operation.id, object }));
  });
  const comments = setInterval(() => {
    if (mayTell()) raw.write(': still here\n\n');
  }, COMMENT_EVERY_MS);
  try {
    for (let next = await first; next.done !== true; next = await rest.next()) {
      if (!mayTell()) break;
      const { id, kind, name, object } = next.value;
      const hasRoom = raw.write(`id: ${id}\n${eventText(kind, { name, object })}`);
      if (!hasRoom) await drained(reply, signal);
      if (signal.aborted) break;
    }
  } catch (error) {
    const known =
      error instanceof Error ? error : new Fault('INTERNAL', { problem: String(error) });
    raw.write(eventText('problem', problemOf(known)));
  } finally {
    forget?.();
    clearInterval(comments);
    raw.end();
  }
}

const eventText = (kind: string, data: object): string =>
  `event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;

function drained({ raw }: FastifyReply, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    raw.once('drain', resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
