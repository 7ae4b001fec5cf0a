/**
 * The cluster store: small, strongly consistent state of the cluster. SQLite on one machine, etcd on several; the semantics are
 * etcd v3's (revisions, conditional transactions, watches from a revision, leases), so that both can keep them.
 *
 * One suite (compliance.ts) runs against every implementation.
 */

import { assert } from '../lib/assert.ts';

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export type Entry = {
  readonly key: string;
  readonly value: JsonValue;
  /** The store's revision when the entry was last written: what a condition names. */
  readonly version: number;
};

/** Keys that one transaction may name: etcd takes 128 operations, unless configured. */
export const TRANSACTION_KEYS_MAX = 100;

/** All of it or nothing. It names at most 100 keys in its conditions, and 100 in what it puts and deletes, each once. */
export type Transaction = {
  /** `version` 0: the key is absent. */
  readonly conditions?: readonly { readonly key: string; readonly version: number }[];
  readonly puts?: readonly {
    readonly key: string;
    readonly value: JsonValue;
    readonly leaseId?: string;
  }[];
  readonly deletes?: readonly string[];
};

export type TransactionResult =
  /** Durable. `revision` is the version of every entry that was put. */
  | { readonly kind: 'committed'; readonly revision: number }
  /** Nothing happened: the first condition that does not hold. */
  | { readonly kind: 'conflict'; readonly key: string };

export type WatchEvent =
  | { readonly kind: 'put'; readonly entry: Entry; readonly revision: number }
  | { readonly kind: 'delete'; readonly key: string; readonly revision: number };

export type ClusterStore = {
  get(key: string): Promise<Entry | undefined>;
  /** Entries whose keys begin with `prefix`, in order of key, and the revision at which they were read. */
  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }>;
  /** Throws a Fault where the outcome is not known, and nothing changed or all did: what is read afterwards tells, for good. */
  transact(transaction: Transaction): Promise<TransactionResult>;
  /**
   * Changes of keys that begin with `prefix` with revisions above `afterRevision`, in order, until `signal` aborts (the iteration
   * then ends). Throws Refusal STORE_COMPACTED when history no longer reaches back that far.
   */
  watch(prefix: string, afterRevision: number, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /**
   * A lease: entries put under it vanish when it is not renewed for `ttlMs`, or some seconds later. Whoever relies on it counts from the
   * sending of the request, on a clock that counts suspend too.
   */
  grantLease(ttlMs: number): Promise<string>;
  /** False when the lease has ended. */
  renewLease(leaseId: string): Promise<boolean>;
  revokeLease(leaseId: string): Promise<void>;
  close(): Promise<void>;
};

/** What every store asserts of a transaction before it begins. */
export function checkTransaction({ conditions = [], puts = [], deletes = [] }: Transaction): void {
  const written = [...puts.map(({ key }) => key), ...deletes];
  assert(new Set(written).size === written.length, 'a transaction writes each key once');
  assert(written.length <= TRANSACTION_KEYS_MAX, 'a transaction writes at most 100 keys');
  assert(conditions.length <= TRANSACTION_KEYS_MAX, 'a transaction has at most 100 conditions');
}
