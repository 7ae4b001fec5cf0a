/** Idempotency keys on the REST API: requests with one key are carried out as one, at once or later, whether their clients stay or not. */

import { Refusal } from '../model/errors.ts';
import type { OperationRecord } from '../model/records.ts';
import { type KeyedRequest, RequestKeys } from './request-keys.ts';
import type { RestParts } from './rest.ts';
import { outcomeOf } from './routes/operations.ts';

/** What carries a request out. It goes on when the client is answered already, or gone. */
export type Work = {
  /** Resolves when its operation is recorded. */
  readonly begun: Promise<OperationRecord>;
  readonly answer: Promise<Answer>;
};

/** `isReplayed`: it came of an earlier request. */
type Answer = { readonly body: unknown; readonly isReplayed: boolean };

export class KeyedRequests {
  readonly #parts: RestParts;
  readonly #keys: RequestKeys;
  /** By key. */
  readonly #underWay = new Map<string, Work & { readonly fingerprint: string }>();

  constructor(parts: RestParts) {
    this.#parts = parts;
    this.#keys = new RequestKeys(parts.records, parts.wallMs);
  }

  /**
   * The work of the same request with this key that is under way; else `own`, which begins unless that was carried out before. Throws
   * KEY_REUSED.
   */
  work(
    request: KeyedRequest,
    own: {
      readonly begun: PromiseWithResolvers<OperationRecord>;
      readonly serialize: (answer: unknown) => string;
      readonly carryOut: () => Promise<unknown>;
    },
  ): Work {
    const { key, fingerprint } = request;
    const other = this.#underWay.get(key);
    if (other !== undefined && other.fingerprint !== fingerprint) {
      throw new Refusal('KEY_REUSED', { key });
    }
    if (other !== undefined) {
      const { begun, answer } = other;
      return { begun, answer: answer.then(({ body }) => ({ body, isReplayed: true })) };
    }
    const answer = this.#answer(request, own).finally(() => this.#underWay.delete(key));
    const work = { fingerprint, begun: own.begun.promise, answer };
    this.#underWay.set(key, work);
    return work;
  }

  async #answer(
    request: KeyedRequest,
    { begun, serialize, carryOut }: Parameters<KeyedRequests['work']>[1],
  ): Promise<Answer> {
    const earlier = await this.#keys.earlier(request, begun.resolve);
    if (earlier !== undefined && 'body' in earlier) {
      return { body: earlier.body, isReplayed: true };
    }
    const outcome =
      earlier === undefined ? await carryOut() : await outcomeOf(this.#parts, earlier);
    const body = serialize(outcome);
    await this.#keys.keep(request, { status: 200, body });
    return { body, isReplayed: false };
  }
}
