/** The cluster store of one machine, in one SQLite file: WAL, and synchronous=FULL, so that what was answered survives a power cut. */

import { DatabaseSync, type StatementSync } from 'node:sqlite';

import { Fault, Refusal } from '../model/errors.ts';
import {
  type ClusterStore,
  type Entry,
  type JsonValue,
  type Transaction,
  type TransactionResult,
  type WatchEvent,
  checkTransaction,
} from './cluster-store.ts';

/** Revisions of history kept for watchers that resume. */
const HISTORY_REVISIONS = 10_000;
/** How often history is trimmed and ended leases are looked for, in transactions. */
const TRIM_EVERY = 256;

export type SqliteStoreOptions = {
  readonly path: string;
  readonly wallMs: () => number;
  readonly randomId: () => string;
};

type Statements = {
  readonly get: StatementSync;
  readonly list: StatementSync;
  readonly put: StatementSync;
  readonly remove: StatementSync;
  readonly remember: StatementSync;
  readonly history: StatementSync;
};

export class SqliteStore implements ClusterStore {
  readonly #database: DatabaseSync;
  readonly #options: SqliteStoreOptions;
  readonly #statements: Statements;
  #revision: number;
  /** Watchers to wake after a commit. */
  readonly #wakers = new Set<() => void>();
  #leaseTimer: NodeJS.Timeout | undefined;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    const database = new DatabaseSync(options.path);
    this.#database = database;
    database.exec(`
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA busy_timeout = 5000;
      CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS entry (
        key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL, lease TEXT) STRICT, WITHOUT ROWID;
      CREATE INDEX IF NOT EXISTS entry_lease ON entry (lease) WHERE lease IS NOT NULL;
      CREATE TABLE IF NOT EXISTS history (
        revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (revision, key)) STRICT, WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS lease (
        id TEXT PRIMARY KEY, ttl_ms INTEGER NOT NULL, ends_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
      INSERT OR IGNORE INTO meta VALUES ('format', 1), ('revision', 0);`);
    this.#checkFormat();
    this.#revision = this.#meta('revision');
    this.#statements = {
      get: database.prepare('SELECT key, value, version FROM entry WHERE key = ?'),
      list: database.prepare(
        'SELECT key, value, version FROM entry WHERE key >= ? AND key < ? ORDER BY key',
      ),
      put: database.prepare('INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)'),
      remove: database.prepare('DELETE FROM entry WHERE key = ?'),
      remember: database.prepare('INSERT OR REPLACE INTO history VALUES (?, ?, ?)'),
      history: database.prepare(
        'SELECT revision, key, value FROM history WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision, key',
      ),
    };
    this.#endLeases();
  }

  #checkFormat(): void {
    const format = this.#meta('format');
    if (format === 1) return;
    throw new Fault('STORE_FAILED', {
      problem: `"${this.#options.path}" has format ${format}, and this build reads 1`,
    });
  }

  #meta(name: string): number {
    const row = this.#database.prepare('SELECT value FROM meta WHERE name = ?').get(name);
    return Number(row?.['value'] ?? 0);
  }

  get(key: string): Promise<Entry | undefined> {
    const row = this.#statements.get.get(key);
    return Promise.resolve(row === undefined ? undefined : entryOf(row));
  }

  list(prefix: string): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    const entries = this.#statements.list.all(prefix, endOf(prefix)).map(entryOf);
    return Promise.resolve({ entries, revision: this.#revision });
  }

  transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    const { conditions = [], puts = [], deletes = [] } = transaction;
    const { get, put, remove, remember } = this.#statements;
    const revision = this.#revision + 1;
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const { key, version } of conditions) {
        if (Number(get.get(key)?.['version'] ?? 0) !== version) {
          this.#database.exec('ROLLBACK');
          return Promise.resolve({ kind: 'conflict', key });
        }
      }
      for (const { key, value, leaseId } of puts) {
        if (leaseId !== undefined) this.#checkLease(leaseId);
        const text = JSON.stringify(value);
        put.run(key, text, revision, leaseId ?? null);
        remember.run(revision, key, text);
      }
      for (const key of deletes) {
        if (remove.run(key).changes > 0) remember.run(revision, key, null);
      }
      this.#database.prepare("UPDATE meta SET value = ? WHERE name = 'revision'").run(revision);
      if (revision % TRIM_EVERY === 0) this.#trim(revision);
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      return Promise.reject(error instanceof Refusal ? error : failed(error));
    }
    this.#revision = revision;
    for (const wake of this.#wakers) wake();
    return Promise.resolve({ kind: 'committed', revision });
  }

  #trim(revision: number): void {
    this.#database
      .prepare('DELETE FROM history WHERE revision <= ?')
      .run(revision - HISTORY_REVISIONS);
  }

  async *watch(
    prefix: string,
    afterRevision: number,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent> {
    const oldest = Number(
      this.#database.prepare('SELECT min(revision) AS oldest FROM history').get()?.['oldest'] ?? 0,
    );
    if (oldest > afterRevision + 1 && oldest > 1 && afterRevision < this.#revision) {
      throw new Refusal('STORE_COMPACTED', {
        revision: afterRevision,
        oldest,
        newest: this.#revision,
      });
    }
    let seen = afterRevision;
    while (!signal.aborted) {
      const rows = this.#statements.history.all(seen, prefix, endOf(prefix));
      seen = Math.max(seen, this.#revision);
      for (const row of rows) {
        if (signal.aborted) return;
        yield eventOf(row);
      }
      if (this.#revision > seen) continue;
      await this.#changed(signal);
    }
  }

  /** Resolves after the next commit, or when `signal` aborts. */
  #changed(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wakers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      this.#wakers.add(wake);
      signal.addEventListener('abort', wake);
    });
  }

  grantLease(ttlMs: number): Promise<string> {
    const id = this.#options.randomId();
    this.#database
      .prepare('INSERT INTO lease VALUES (?, ?, ?)')
      .run(id, ttlMs, this.#options.wallMs() + ttlMs);
    this.#scheduleLeases();
    return Promise.resolve(id);
  }

  renewLease(leaseId: string): Promise<boolean> {
    this.#endLeases();
    const { changes } = this.#database
      .prepare('UPDATE lease SET ends_ms = ? + ttl_ms WHERE id = ?')
      .run(this.#options.wallMs(), leaseId);
    this.#scheduleLeases();
    return Promise.resolve(changes > 0);
  }

  async revokeLease(leaseId: string): Promise<void> {
    const rows = this.#database.prepare('SELECT key FROM entry WHERE lease = ?').all(leaseId);
    this.#database.prepare('DELETE FROM lease WHERE id = ?').run(leaseId);
    if (rows.length > 0) await this.transact({ deletes: rows.map((row) => String(row['key'])) });
  }

  #checkLease(leaseId: string): void {
    this.#endLeases();
    const row = this.#database.prepare('SELECT id FROM lease WHERE id = ?').get(leaseId);
    if (row === undefined) throw new Refusal('STORE_CONFLICT', { key: `lease ${leaseId}` });
  }

  /** Ends the leases whose time is over. Not inside a transaction of others' making. */
  #endLeases(): void {
    if (this.#database.isTransaction) return;
    const rows = this.#database
      .prepare('SELECT id FROM lease WHERE ends_ms <= ?')
      .all(this.#options.wallMs());
    for (const row of rows) void this.revokeLease(String(row['id']));
    this.#scheduleLeases();
  }

  #scheduleLeases(): void {
    clearTimeout(this.#leaseTimer);
    const row = this.#database.prepare('SELECT min(ends_ms) AS next FROM lease').get();
    if (row?.['next'] == null) return;
    const delayMs = Math.max(1, Number(row['next']) - this.#options.wallMs());
    this.#leaseTimer = setTimeout(() => this.#endLeases(), delayMs);
    this.#leaseTimer.unref();
  }

  close(): Promise<void> {
    clearTimeout(this.#leaseTimer);
    this.#database.close();
    return Promise.resolve();
  }
}

/** The first key after all that begin with `prefix`. */
function endOf(prefix: string): string {
  return `${prefix}\u{10ffff}`;
}

function entryOf(row: Record<string, unknown>): Entry {
  return {
    key: String(row['key']),
    value: JSON.parse(String(row['value'])) as JsonValue,
    version: Number(row['version']),
  };
}

function eventOf(row: Record<string, unknown>): WatchEvent {
  const key = String(row['key']);
  const revision = Number(row['revision']);
  if (row['value'] === null) return { kind: 'delete', key, revision };
  const value = JSON.parse(String(row['value'])) as JsonValue;
  return { kind: 'put', entry: { key, value, version: revision }, revision };
}

function failed(error: unknown): Fault {
  return new Fault('STORE_FAILED', {
    problem: error instanceof Error ? error.message : String(error),
  });
}
