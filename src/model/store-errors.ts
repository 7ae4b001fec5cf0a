/** Rows of the table of errors (errors.ts): the cluster store. */

import { type ErrorRow, row } from './error-row.ts';

export const STORE = {
  STORE_SETTINGS: row(400, 'never', 'Cannot use "{file}" for the cluster store: {problem}', {
    exit: 2,
    wayOut: 'docs/cluster-store.md has an example',
  }),
  BACKUP_INVALID: row(400, 'never', 'Cannot restore from "{file}": {problem}', {
    wayOut: 'holdfast store backup FILE makes one',
  }),
  STORE_CONFLICT: row(409, 'now', 'Another request changed "{key}" meanwhile'),
  STORE_COMPACTED: row(
    410,
    'never',
    'Cannot watch from revision {revision}: history reaches from {oldest} to {newest}',
    { wayOut: 'List anew, and watch from there' },
  ),
  STORE_UNREACHABLE: row(503, 'later', 'The cluster store does not answer: {problem}', {
    exit: 3,
    wayOut: 'Volumes are served without it, and what changes them waits. See that etcd runs',
  }),
  STORE_FULL: row(503, 'later', 'The cluster store takes no changes: {problem}', {
    wayOut: 'Compact and defragment etcd, then etcdctl alarm disarm: docs/cluster-store.md',
  }),
  STORE_DENIED: row(500, 'later', 'The cluster store refuses us: {problem}', {
    wayOut:
      'See to user, password and certificates that store.json names, and to the rights of that user',
  }),
  STORE_WENT_BACK: row(500, 'never', 'The cluster store lost what was committed: {problem}', {
    wayOut:
      'Volumes are untouched. Put the newest backup of the records back (holdfast store restore), and see to what changed since: docs/cluster-store.md',
  }),
  STORE_TAKEN: row(500, 'never', 'The cluster store is in use: {problem}', {
    wayOut:
      'One process writes under one prefix: end the other one, or give another prefix in store.json',
  }),
  STORE_FAILED: row(500, 'later', 'The cluster store failed: {problem}'),
} as const satisfies Record<string, ErrorRow>;
