/**
 * Idempotency keys: a request that is repeated with its key is carried out once, also by a later process
 * (draft-ietf-httpapi-idempotency-key-header). The key is recorded in the transaction that records the request's operation, and again
 * with the answer. A refusal changes nothing and uses up no key.
 */

import { setTimeout as sleep } from 'node:timers/promises';

import { Refusal } from '../model/errors.ts';
import type { OperationRecord, RequestRecord } from '../model/records.ts';
import { REQUEST_KEPT_MS } from './record-expiry.ts';
import type { RecordsStore } from './records-store.ts';
import { currentRequest } from './request-context.ts';

const LOOK_MS = 50;
/** For an operation that only the reconciler drives: it may wait for an engine that is away. */
const WAIT_MS = 60_000;

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

  constructor(records: RecordsStore, wallMs: () => number) {
    this.#records = records;
    this.#wallMs = wallMs;
  }

  /**
   * What the request has come to already: its answer; the operation that carried it out without an answer, since control died before
   * it; or undefined where it is yet to be carried out. An operation that still goes on is told to `onRunning` and waited for. Throws
   * KEY_REUSED, OPERATION_RUNNING.
   */
  async earlier(
    request: KeyedRequest,
    onRunning: (operation: OperationRecord) => void,
  ): Promise<StoredAnswer | OperationRecord | undefined> {
    const known = await this.#records.request(request.key);
    if (known === undefined || known.atMs < this.#wallMs() - REQUEST_KEPT_MS) return undefined;
    if (known.fingerprint !== request.fingerprint) {
      throw new Refusal('KEY_REUSED', { key: request.key });
    }
    if (known.answer !== undefined || known.operationId === undefined) return known.answer;
    const deadlineMs = performance.now() + WAIT_MS;
    for (;;) {
      const operation = await this.#records.operation(known.operationId);
      if (operation === undefined || operation.state === 'failed') return undefined;
      if (operation.state === 'done') return operation;
      onRunning(operation);
      const { kind, id } = operation;
      if (performance.now() > deadlineMs) {
        throw new Refusal('OPERATION_RUNNING', { operation: kind, id });
      }
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
