/**
 * The cluster store of one machine, in one SQLite file: WAL, and synchronous=FULL, so that what was answered survives a power cut. Several
 * processes may have it open: all that is decided is read in the transaction that writes, and each hears of the others' commits (commit-bell.ts).
 */

import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setTimeout as pause } from 'node:timers/promises';

import { Turnstile } from '../lib/turnstile.ts';
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
import { CommitBell } from './commit-bell.ts';

/** Revisions of history kept for watchers that resume. */
const HISTORY_REVISIONS = 10_000;
/** How often history is trimmed, in transactions. */
const TRIM_EVERY = 256;
/** Another process's transaction takes some ms. So long one is waited for with the event loop standing still, and so long with it going on. */
const BUSY_BLOCKING_MS = 5;
const BUSY_PAUSE_MS = 5;
/** 8 s: a process that is stopped in its transaction holds up all others. */
const BUSY_TRIES_MAX = 8000 / (BUSY_BLOCKING_MS + BUSY_PAUSE_MS);
/** At the opening nothing else goes on yet. */
const OPEN_BLOCKING_MS = 5000;
const OPEN_TRIES_MAX = 1000;
/** Where the file could not be read, or leases not be ended. */
const LOOK_AGAIN_MS = 1000;
const SQLITE_BUSY = 5;

export type SqliteStoreOptions = {
  readonly path: string;
  /** Time since the machine's boot, suspend included: the same for all processes, whatever is done to the wall clock. */
  readonly bootMs: () => number;
  /** Names the machine's run. Leases of another one are over. */
  readonly bootId: string;
  readonly randomId: () => string;
};

export class SqliteStore implements ClusterStore {
  readonly #database: DatabaseSync;
  readonly #options: SqliteStoreOptions;
  readonly #statements: ReturnType<typeof statementsOf>;
  /** Undefined of one in memory. */
  readonly #bell: CommitBell | undefined;
  readonly #turnstile = new Turnstile();
  /** The newest revision that watchers were woken for. */
  #seenRevision = 0;
  /** Watchers to wake after a commit. */
  readonly #wakers = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    const database = new DatabaseSync(options.path);
    this.#database = database;
    setUp(database);
    this.#statements = statementsOf(database);
    this.#checkFormat();
    const { path } = options;
    this.#bell = path === ':memory:' ? undefined : new CommitBell(path, () => this.#look());
    this.#look();
  }

  #checkFormat(): void {
    const format = Number(this.#statements.meta.get('format')?.['value']);
    if (format === 1) return;
    throw new Fault('STORE_FAILED', {
      problem: `"${this.#options.path}" has format ${format}, and this build reads 1`,
    });
  }

  #revision(): number {
    return Number(this.#statements.meta.get('revision')?.['value']);
  }

  async get(key: string): Promise<Entry | undefined> {
    const row = await this.#whenFree(() => this.#statements.get.get(key));
    return row === undefined ? undefined : entryOf(row);
  }

  async list(
    prefix: string,
  ): Promise<{ readonly entries: readonly Entry[]; readonly revision: number }> {
    const { rows, revision } = await this.#read(() => ({
      rows: this.#statements.list.all(prefix, endOf(prefix)),
      revision: this.#revision(),
    }));
    return { entries: rows.map(entryOf), revision };
  }

  async transact(transaction: Transaction): Promise<TransactionResult> {
    checkTransaction(transaction);
    return await this.#write(() => this.#apply(transaction));
  }

  #apply({ conditions = [], puts = [], deletes = [] }: Transaction): TransactionResult {
    const { get, put, remove, remember } = this.#statements;
    const broken = conditions.find(
      ({ key, version }) => Number(get.get(key)?.['version'] ?? 0) !== version,
    );
    if (broken !== undefined) return { kind: 'conflict', key: broken.key };
    const revision = this.#nextRevision();
    for (const { key, value, leaseId } of puts) {
      if (leaseId !== undefined) this.#checkLease(leaseId);
      const text = JSON.stringify(value);
      put.run(key, text, revision, leaseId ?? null);
      remember.run(revision, key, text);
    }
    for (const key of deletes) {
      if (remove.run(key).changes > 0) remember.run(revision, key, null);
    }
    return { kind: 'committed', revision };
  }

  #nextRevision(): number {
    const revision = this.#revision() + 1;
    this.#statements.setRevision.run(revision);
    if (revision % TRIM_EVERY === 0) this.#statements.trim.run(trimmedAt(revision));
    return revision;
  }

  /** What `task` reads is of one revision. */
  #read<T>(task: () => T): Promise<T> {
    return this.#whenFree(() => this.#inTransaction('BEGIN', task));
  }

  /** Whoever watches, here or in another process, is woken after it. */
  async #write<T>(task: () => T): Promise<T> {
    // One at a time: each that waits for another process keeps the event loop from what else is to be done.
    const result = await this.#turnstile.enter('', () =>
      this.#whenFree(() => this.#inTransaction('BEGIN IMMEDIATE', task)),
    );
    this.#bell?.ring();
    this.#look();
    return result;
  }

  #inTransaction<T>(begin: string, task: () => T): T {
    this.#database.exec(begin);
    try {
      const result = task();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  /** Runs `task`, which reads or is one transaction, as soon as no other process is in its way: at once where none is. */
  async #whenFree<T>(task: () => T): Promise<T> {
    for (let tries = 1; ; tries++) {
      try {
        return task();
      } catch (error) {
        if (error instanceof Refusal) throw error;
        if (!isBusy(error)) throw failed(error);
        if (tries >= BUSY_TRIES_MAX) throw this.#held();
      }
      await pause(BUSY_PAUSE_MS);
    }
  }

  #held(): Fault {
    const problem = `another process has held "${this.#options.path}" for 8 s`;
    return new Fault('STORE_FAILED', { problem });
  }

  async *watch(
    prefix: string,
    afterRevision: number,
    signal: AbortSignal,
  ): AsyncIterable<WatchEvent> {
    let seen = afterRevision;
    while (!signal.aborted) {
      const after = seen;
      const { rows, revision } = await this.#read(() => this.#since(prefix, after));
      for (const row of rows) {
        if (signal.aborted) return;
        yield eventOf(row);
      }
      seen = Math.max(seen, revision);
      if (this.#seenRevision <= seen) await this.#changed(signal);
    }
  }

  /** Throws STORE_COMPACTED where some of it is trimmed already. */
  #since(prefix: string, after: number) {
    const revision = this.#revision();
    if (after >= revision) return { rows: [], revision };
    const trimmed = trimmedAt(revision);
    if (after < trimmed) {
      throw new Refusal('STORE_COMPACTED', {
        revision: after,
        oldest: trimmed + 1,
        newest: revision,
      });
    }
    return { rows: this.#statements.history.all(after, prefix, endOf(prefix)), revision };
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

  /** Some process may have committed: wakes the watchers where it has, and sees when a lease may end next, whoever granted it. */
  #look(): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    const { bootId, bootMs } = this.#options;
    try {
      const row = this.#statements.look.get(bootId);
      const nextEnd = row?.['nextEnd'];
      if (nextEnd != null) this.#after(Number(nextEnd) - bootMs(), () => this.#endLeases());
      const revision = Number(row?.['revision']);
      if (revision <= this.#seenRevision) return;
      this.#seenRevision = revision;
      for (const wake of this.#wakers) wake();
    } catch {
      // Another process recovers the log, or the disk fails.
      this.#after(LOOK_AGAIN_MS, () => this.#look());
    }
  }

  #after(delayMs: number, task: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(task, Math.max(0, Math.ceil(delayMs))).unref();
  }

  async grantLease(ttlMs: number): Promise<string> {
    const { bootId, bootMs, randomId } = this.#options;
    const id = randomId();
    await this.#write(() => this.#statements.grant.run(id, bootId, ttlMs, bootMs() + ttlMs));
    return id;
  }

  async renewLease(leaseId: string): Promise<boolean> {
    const { bootId, bootMs } = this.#options;
    const { changes } = await this.#write(() => {
      const nowMs = bootMs();
      return this.#statements.renew.run(nowMs, leaseId, bootId, nowMs);
    });
    return changes > 0;
  }

  async revokeLease(leaseId: string): Promise<void> {
    await this.#write(() => this.#end([leaseId]));
  }

  #checkLease(leaseId: string): void {
    const { bootId, bootMs } = this.#options;
    const row = this.#statements.lease.get(leaseId, bootId, bootMs());
    if (row === undefined) throw new Refusal('STORE_CONFLICT', { key: `lease ${leaseId}` });
  }

  /** Ends leases, in the transaction that goes on. */
  #end(leaseIds: readonly string[]): void {
    const { leased, endLease } = this.#statements;
    const keys = leaseIds.flatMap((id) => leased.all(id).map((row) => String(row['key'])));
    for (const id of leaseIds) endLease.run(id);
    if (keys.length > 0) this.#apply({ deletes: keys });
  }

  /** Ends those whose time is over. */
  #endLeases(): void {
    const { bootId, bootMs } = this.#options;
    this.#write(() => {
      const rows = this.#statements.ended.all(bootId, bootMs());
      this.#end(rows.map((row) => String(row['id'])));
    }).catch(() => this.#after(LOOK_AGAIN_MS, () => this.#look()));
  }

  close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#bell?.close();
    this.#database.close();
    return Promise.resolve();
  }
}

/** Makes what is missing. Whoever does so at the same time is waited for: SQLite waits for others, but not on its way to WAL. */
function setUp(database: DatabaseSync): void {
  database.exec(`PRAGMA busy_timeout = ${OPEN_BLOCKING_MS}`);
  for (let tries = 1; ; tries++) {
    try {
      makeTables(database);
      database.exec(`PRAGMA busy_timeout = ${BUSY_BLOCKING_MS}`);
      return;
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK');
      if (!isBusy(error) || tries >= OPEN_TRIES_MAX) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS);
    }
  }
}

function makeTables(database: DatabaseSync): void {
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    BEGIN IMMEDIATE;
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS entry (
      key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL, lease TEXT) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS entry_lease ON entry (lease) WHERE lease IS NOT NULL;
    CREATE TABLE IF NOT EXISTS history (
      revision INTEGER NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (revision, key)) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS boot_lease (
      id TEXT PRIMARY KEY, boot TEXT NOT NULL, ttl_ms REAL NOT NULL, ends_ms REAL NOT NULL) STRICT, WITHOUT ROWID;
    INSERT OR IGNORE INTO meta VALUES ('format', 1), ('revision', 0);
    COMMIT;`);
}

function statementsOf(database: DatabaseSync) {
  return {
    meta: database.prepare('SELECT value FROM meta WHERE name = ?'),
    setRevision: database.prepare("UPDATE meta SET value = ? WHERE name = 'revision'"),
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
    trim: database.prepare('DELETE FROM history WHERE revision <= ?'),
    grant: database.prepare('INSERT INTO boot_lease VALUES (?, ?, ?, ?)'),
    renew: database.prepare(
      'UPDATE boot_lease SET ends_ms = ? + ttl_ms WHERE id = ? AND boot = ? AND ends_ms > ?',
    ),
    lease: database.prepare('SELECT id FROM boot_lease WHERE id = ? AND boot = ? AND ends_ms > ?'),
    leased: database.prepare('SELECT key FROM entry WHERE lease = ?'),
    endLease: database.prepare('DELETE FROM boot_lease WHERE id = ?'),
    ended: database.prepare('SELECT id FROM boot_lease WHERE boot <> ? OR ends_ms <= ?'),
    look: database.prepare(`
      SELECT value AS revision, (SELECT min(CASE boot WHEN ? THEN ends_ms ELSE 0 END) FROM boot_lease) AS nextEnd
      FROM meta WHERE name = 'revision'`),
  } satisfies Record<string, StatementSync>;
}

/** History up to this revision is gone, in a store at `revision`. */
function trimmedAt(revision: number): number {
  return Math.max(0, revision - (revision % TRIM_EVERY) - HISTORY_REVISIONS);
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

/** The rest of the code says what for. */
const isBusy = (error: unknown): boolean =>
  error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;

function failed(error: unknown): Fault {
  return new Fault('STORE_FAILED', {
    problem: error instanceof Error ? error.message : String(error),
  });
}
