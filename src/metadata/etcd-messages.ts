/** Pieces of etcd's messages (`kv.proto`, `rpc.proto`) in the JSON mapping of protobuf. */

/** A message of etcd, as it came or goes. */
export type EtcdMessage = { readonly [field: string]: unknown };

/** `mvccpb.KeyValue`: key and value in base64, revisions as decimal strings; what is zero or empty is absent. */
export type KeyValue = {
  readonly key: string;
  readonly value?: string;
  readonly mod_revision?: string;
};

/** `mvccpb.Event`. */
export type EtcdEvent = { readonly type?: 'DELETE' | 'PUT'; readonly kv: KeyValue };

/** `etcdserverpb.TxnRequest`. */
export type TransactionBody = Readonly<
  Record<'compare' | 'success' | 'failure', readonly EtcdMessage[]>
>;

export const NOTHING: TransactionBody = { compare: [], success: [], failure: [] };

/** UTF-8, in base64. */
export function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** The text of what is base64 of its UTF-8; of nothing, the empty one. */
export function fromBase64(text: string | undefined): string {
  return Buffer.from(text ?? '', 'base64').toString();
}

/** `range_end` for the keys that begin with `prefix`, in base64: no byte of UTF-8 is as high as 255. */
export function endOf(prefix: string): string {
  return Buffer.concat([Buffer.from(prefix), Buffer.from([0xff])]).toString('base64');
}

/** The comparison "the key was last written in `revision`"; 0: it is absent. `key` in base64. */
export function writtenAt(key: string, revision: number): EtcdMessage {
  return { key, target: 'MOD', result: 'EQUAL', mod_revision: String(revision) };
}

/** The store's revision when it answered, from the header; 0 where there is none. */
export function revisionOf(message: EtcdMessage): number {
  return Number(headerOf(message)['revision'] ?? 0);
}

/** What names the cluster of the member that answered. */
export function clusterOf(message: EtcdMessage): string {
  return String(headerOf(message)['cluster_id']);
}

function headerOf(message: EtcdMessage): EtcdMessage {
  return (message['header'] ?? {}) as EtcdMessage;
}

/** The entries of a `RangeResponse`. */
export function entriesIn(message: EtcdMessage): readonly KeyValue[] {
  return (message['kvs'] ?? []) as readonly KeyValue[];
}

/** Of a `TxnResponse` whose operations were ranges of one key each: what each one found. */
export function rangesIn(message: EtcdMessage): readonly (KeyValue | undefined)[] {
  const responses = (message['responses'] ?? []) as readonly {
    readonly response_range?: EtcdMessage;
  }[];
  return responses.map(({ response_range: range }) => entriesIn(range ?? {})[0]);
}
