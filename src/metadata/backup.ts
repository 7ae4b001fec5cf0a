/**
 * A backup of a cluster store: a text of one line of JSON for each entry, between a line that says what it is and one with the SHA-256 of
 * all before it.
 *
 *     {"holdfastRecords":1,"revision":4711,"entries":2}
 *     {"key":"drive/default","value":{…}}
 *     {"key":"volume/db","value":{…}}
 *     {"sha256":"…"}
 */

import { createHash } from 'node:crypto';

import { Refusal } from '../model/errors.ts';
import { type ClusterStore, type JsonValue, TRANSACTION_KEYS_MAX } from './cluster-store.ts';

/** There while the entries of a store are being replaced: what is beside it is neither the old nor the new. */
export const RESTORING_KEY = 'meta/restoring';

/** What is there as long as somebody's lease: of no use later. */
const LEASED_PREFIX = 'alive/';

export type BackupEntry = { readonly key: string; readonly value: JsonValue };

/** All that is in `store` to stay, as of one revision. */
export async function backupOf(
  store: ClusterStore,
): Promise<{ readonly revision: number; readonly entries: readonly BackupEntry[] }> {
  const { entries, revision } = await store.list('');
  const kept = entries.filter(({ key }) => !key.startsWith(LEASED_PREFIX));
  return { revision, entries: kept.map(({ key, value }) => ({ key, value })) };
}

/** The text of a backup. */
export function formatBackup({ revision, entries }: Awaited<ReturnType<typeof backupOf>>): string {
  const head = { holdfastRecords: 1, revision, entries: entries.length };
  const body = [head, ...entries].map((line) => `${JSON.stringify(line)}\n`).join('');
  return `${body}${JSON.stringify({ sha256: digestOf(body) })}\n`;
}

/** The entries of a backup. Throws BACKUP_INVALID where it is none, or not whole. `file` names it in the error. */
export function parseBackup(text: string, file: string): readonly BackupEntry[] {
  const refused = (problem: string): Refusal => new Refusal('BACKUP_INVALID', { file, problem });
  const end = text.lastIndexOf('\n', text.length - 2) + 1;
  const body = text.slice(0, end);
  if (!body.startsWith('{"holdfastRecords":')) throw refused('it is no backup of records');
  if (!body.startsWith('{"holdfastRecords":1,')) throw refused('it is of a newer Holdfast');
  if (text.slice(end) !== `${JSON.stringify({ sha256: digestOf(body) })}\n`) {
    throw refused('its checksum does not fit: it is damaged, or not all of it is there');
  }
  const [, ...lines] = body.trimEnd().split('\n');
  return lines.map((line): BackupEntry => JSON.parse(line));
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/**
 * Makes `entries` all that is in `store`, in several transactions. A mark is there from the first to the last: a store with it is
 * refused by who would use it (RESTORING_KEY), and another call of this ends it.
 */
export async function replaceEntries(
  store: ClusterStore,
  entries: readonly BackupEntry[],
): Promise<void> {
  await store.transact({ puts: [{ key: RESTORING_KEY, value: true }] });
  const { entries: before } = await store.list('');
  const wanted = new Set(entries.map(({ key }) => key));
  const deletes = before
    .map(({ key }) => key)
    .filter((key) => key !== RESTORING_KEY && !wanted.has(key));
  const puts = entries.filter(({ key }) => key !== RESTORING_KEY);
  for (const part of chunks(deletes)) await store.transact({ deletes: part });
  for (const part of chunks(puts)) await store.transact({ puts: part });
  await store.transact({ deletes: [RESTORING_KEY] });
}

function chunks<T>(all: readonly T[]): T[][] {
  const count = Math.ceil(all.length / TRANSACTION_KEYS_MAX);
  return Array.from({ length: count }, (_, index) =>
    all.slice(index * TRANSACTION_KEYS_MAX, (index + 1) * TRANSACTION_KEYS_MAX),
  );
}
