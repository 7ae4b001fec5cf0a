/** The data of NBD's options, parsed. Nothing here trusts a length. */

import { STRING_BYTES_MAX } from './constants.ts';

/** Queries of one META_CONTEXT option that are looked at; the protocol lets a server bound them. */
const QUERY_COUNT_MAX = 4096;

export type InfoRequest = {
  /** Borrowed from the option's bytes. */
  readonly name: Uint8Array;
  readonly infos: ReadonlySet<number>;
};

/**
 * Parses the data of INFO and GO; undefined if malformed.
 *
 *     name length:32 name | request count:16 | request:16 ...
 */
export function parseInfoRequest(data: Uint8Array): InfoRequest | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (data.length < 6) return undefined;
  const nameBytes = view.getUint32(0);
  if (nameBytes > STRING_BYTES_MAX || nameBytes > data.length - 6) return undefined;
  const name = data.subarray(4, 4 + nameBytes);
  const count = view.getUint16(4 + nameBytes);
  if (data.length !== 6 + nameBytes + 2 * count) return undefined;
  const infos = new Set<number>();
  for (let index = 0; index < count; index += 1) {
    infos.add(view.getUint16(6 + nameBytes + 2 * index));
  }
  return { name, infos };
}

export type MetaQueries = {
  /** Borrowed from the option's bytes. */
  readonly name: Uint8Array;
  readonly queries: readonly string[];
};

/**
 * Parses the data of LIST_META_CONTEXT and SET_META_CONTEXT; undefined if malformed, or if a query names no namespace.
 *
 *     name length:32 name | query count:32 | query length:32 query ...
 */
export function parseMetaQueries(data: Uint8Array): MetaQueries | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (data.length < 8) return undefined;
  const nameBytes = view.getUint32(0);
  if (nameBytes > STRING_BYTES_MAX || nameBytes > data.length - 8) return undefined;
  const name = data.subarray(4, 4 + nameBytes);
  const count = view.getUint32(4 + nameBytes);
  if (count > QUERY_COUNT_MAX) return undefined;
  const queries: string[] = [];
  let at = 8 + nameBytes;
  for (let index = 0; index < count; index += 1) {
    if (data.length - at < 4) return undefined;
    const queryBytes = view.getUint32(at);
    at += 4;
    if (queryBytes > STRING_BYTES_MAX || queryBytes > data.length - at) return undefined;
    const query = new TextDecoder().decode(data.subarray(at, at + queryBytes));
    if (!query.includes(':')) return undefined;
    queries.push(query);
    at += queryBytes;
  }
  return at === data.length ? { name, queries } : undefined;
}
