/** Which request a change belongs to, all along the way that it takes through the use cases. */

import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash } from 'node:crypto';

import type { OperationRecord } from '../model/records.ts';

export type ChangingRequest = {
  /** The idempotency key that it came with. */
  readonly key: string | undefined;
  /** Of method, path and body: equal requests have equal ones. */
  readonly fingerprint: string;
  /** Called when the operation that carries it out is recorded. */
  readonly onBegun: (operation: OperationRecord) => void;
};

const current = new AsyncLocalStorage<ChangingRequest>();

/** Runs `task` as this request: the operations that it begins belong to it. */
export function asRequest<T>(request: ChangingRequest, task: () => T): T {
  return current.run(request, task);
}

/** Runs `task` for no request, whoever called for it: what it begins is not theirs. */
export function asNobody<T>(task: () => T): T {
  return current.exit(task);
}

/** The request that this runs for; undefined for what Holdfast does by itself. */
export const currentRequest = (): ChangingRequest | undefined => current.getStore();

/** What tells a request from others. */
export function fingerprintOf(method: string, url: string, body: unknown): string {
  const text = JSON.stringify([method, url, body ?? null]);
  return createHash('sha256').update(text).digest('base64url');
}
