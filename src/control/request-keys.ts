/**
 * Idempotency keys: a request that is repeated with its key is carried out once, also by a later process
 * (draft-ietf-httpapi-idempotency-key-header). The key is recorded in the transaction that records the request's operation, and again
 * with the answer. A refusal changes nothing and uses up no key.
 */

import { setTimeout as sleep } from 'node:timers/promises';

import { Refusal } from '../model/errors.ts';
import type { OperationRecord, RequestRecord } from '../model/records.ts';
import { REQUEST_KEPT_MS, type RecordsStore } from './records-store.ts';
import { currentRequest } from './request-context.ts';

const LOOK_MS = 50;

export type KeyedRequest = {
  readonly key: string;
  /** Of method, path and body: another request with this key is refused. */
  readonly fingerprint: string;
};

export type StoredAnswer = NonNullable<RequestRecord['answer']>;

/** What to put beside what is wanted, when `operation` begins: itself, and the key of the request that wants it. */
export function operationPuts(
  operation: OperationRecord,
): readonly { readonly key: string; readonly record: object }[] {
  const { key, fingerprint = '' } = currentRequest() ?? {};
  const own = { key: `operation/${operation.id}`, record: operation };
  if (key === undefined) return [own];
  const record: RequestRecord = {
    key,
    fingerprint,
    atMs: operation.startedAtMs,
    operationId: operation.id,
    answer: undefined,
  };
  return [own, { key: `request/${key}`, record }];
}

export class RequestKeys {
  readonly #records: RecordsStore;
  readonly #wallMs: () => number;
  /** Ends of the requests under way, by key. */
  readonly #underWay = new Map<string, Promise<void>>();

  constructor(records: RecordsStore, wallMs: () => number) {
    this.#records = records;
    this.#wallMs = wallMs;
  }

  /** Waits for an earlier request with this key to end; the function returned ends this one. */
  async enter(key: string): Promise<() => void> {
    for (let before = this.#underWay.get(key); before !== undefined;) {
      await before;
      before = this.#underWay.get(key);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#underWay.set(key, promise);
    return () => {
      if (this.#underWay.get(key) === promise) this.#underWay.delete(key);
      resolve();
    };
  }

  /**
   * What the request has come to already: its answer; the operation that carried it out without an answer, since control died before
   * it or nobody waited, and that carries it out still after `waitMs`; or undefined where it is yet to be carried out. Throws KEY_REUSED.
   */
  async earlier(
    request: KeyedRequest,
    waitMs: number,
  ): Promise<StoredAnswer | OperationRecord | undefined> {
    const known = await this.#records.request(request.key);
    if (known === undefined || known.atMs < this.#wallMs() - REQUEST_KEPT_MS) return undefined;
    if (known.fingerprint !== request.fingerprint) {
      throw new Refusal('KEY_REUSED', { key: request.key });
    }
    if (known.answer !== undefined || known.operationId === undefined) return known.answer;
    const deadlineMs = this.#wallMs() + waitMs;
    for (;;) {
      const operation = await this.#records.operation(known.operationId);
      if (operation === undefined || operation.state === 'failed') return undefined;
      if (operation.state === 'done' || this.#wallMs() > deadlineMs) return operation;
      await sleep(LOOK_MS);
    }
  }

  /** Keeps the answer of a request that was carried out. */
  async keep(request: KeyedRequest, answer: StoredAnswer): Promise<void> {
    const known = await this.#records.request(request.key);
    const record: RequestRecord = {
      ...request,
      atMs: this.#wallMs(),
      operationId: known?.operationId,
      answer,
    };
    await this.#records.change({ puts: [{ key: `request/${request.key}`, record }] });
  }
}
