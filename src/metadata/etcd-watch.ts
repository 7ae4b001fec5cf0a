/** A watch that outlives the member it runs at. */

import { setTimeout as pause } from 'node:timers/promises';

import { Fault, Refusal } from '../model/errors.ts';
import type { EtcdGateway } from './etcd-gateway.ts';
import { type EtcdEvent, type EtcdMessage, endOf, toBase64 } from './etcd-messages.ts';

/** A stream that is silent so long is asked after: its member may be stopped, cut off or back with less than it had. */
const SILENT_MS_MAX = 3_000;
/** Before a stream that broke is opened anew. */
const RETRY_MS = 100;
/** Of one watch, in a row: etcd calls a token that has ended a lack of permission. */
const DENIALS_MAX = 3;

export type EtcdWatch = {
  readonly gateway: EtcdGateway;
  /** What the keys begin with. */
  readonly prefix: string;
  readonly afterRevision: number;
  readonly signal: AbortSignal;
  /** Asks the member at `endpoint` for a linearizable read. False where it does not answer; throws where etcd went back. */
  readonly probe: (endpoint: string) => Promise<boolean>;
};

/**
 * The events after `afterRevision`, each once and in order; those of one revision come together. While no member answers it waits. Throws
 * STORE_COMPACTED where etcd has dropped what comes next, and STORE_DENIED. It resumes after the last event: etcd's signs of progress are not
 * used, since before 3.4.25 and 3.5.8 they can overtake events (etcd-io/etcd#15220).
 */
export async function* watchEtcd(watch: EtcdWatch): AsyncGenerator<readonly EtcdEvent[], void> {
  const { gateway, signal } = watch;
  let seen = watch.afterRevision;
  let denials = 0;
  while (!signal.aborted) {
    const { endpoint } = gateway;
    const stop = new AbortController();
    const abort = (): void => stop.abort();
    signal.addEventListener('abort', abort);
    try {
      for await (const message of alive(watch, { endpoint, seen, stop })) {
        if (signal.aborted) return;
        if (message['canceled'] === true) {
          refuseCompacted(message, seen);
          if (++denials >= DENIALS_MAX) throw denied(message);
          gateway.forgetToken();
          break;
        }
        const events = (message['events'] ?? []) as readonly EtcdEvent[];
        if (events.length > 0) {
          yield events;
          seen = Number(events.at(-1)?.kv.mod_revision);
          denials = 0;
        }
      }
    } catch (error) {
      if (error instanceof Refusal || error instanceof Fault) throw error;
      gateway.leave(endpoint);
    } finally {
      stop.abort();
      signal.removeEventListener('abort', abort);
    }
    await pause(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** The messages of one stream, as long as its member is alive and has a leader. Throws an Error when it is not. */
async function* alive(
  { gateway, prefix, probe }: EtcdWatch,
  {
    endpoint,
    seen,
    stop,
  }: { readonly endpoint: string; readonly seen: number; readonly stop: AbortController },
): AsyncGenerator<EtcdMessage, void> {
  const key = toBase64(prefix);
  const create = {
    key,
    range_end: endOf(prefix),
    start_revision: String(seen + 1),
  };
  const stream = gateway.stream(endpoint, {
    path: 'watch',
    message: { create_request: create },
    signal: stop.signal,
  });
  for (;;) {
    const next = stream.next();
    next.catch(() => undefined);
    let result = await within(next);
    while (result === undefined && !stop.signal.aborted) {
      if (!(await probe(endpoint))) {
        stop.abort();
        throw new Error('silent');
      }
      result = await within(next);
    }
    if (result === undefined || result.done === true) return;
    yield result.value;
  }
}

/** Undefined where it does not settle in time. */
async function within<T>(next: Promise<T>): Promise<T | undefined> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      next,
      pause(SILENT_MS_MAX, undefined, { signal: timer.signal }).catch(() => undefined),
    ]);
  } finally {
    timer.abort();
  }
}

function refuseCompacted(message: EtcdMessage, seen: number): void {
  const oldest = Number(message['compact_revision'] ?? 0);
  if (oldest === 0) return;
  throw new Refusal('STORE_COMPACTED', { revision: seen, oldest, newest: 'now' });
}

function denied(message: EtcdMessage): Fault {
  return new Fault('STORE_DENIED', {
    problem: String(message['cancel_reason'] ?? 'it ended the watch'),
  });
}
