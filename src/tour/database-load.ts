/**
 * Writers on PostgreSQL: each on a connection of its own, one transaction after the other. A transaction that returned
 * goes to the journal, and is on media there, before the writer's next one begins.
 */

import { createHash } from 'node:crypto';
import type { CommitClock } from './commit-clock.ts';
import { type Comparison, compare } from './comparison.ts';
import type { Entry, Journal } from './journal.ts';
import type { Postgres } from './postgres.ts';
import { SqlSession } from './sql-session.ts';

/** Several, so that commits meet and share flushes as in a real load. */
export const WRITER_COUNT = 4;
/** 64 hex digits each: a row of about 512 bytes. */
const PAYLOAD_DIGESTS = 8;

const TABLES = `
CREATE TABLE entries (writer integer, sequence integer, payload text, PRIMARY KEY (writer, sequence));
CREATE TABLE tallies (writer integer PRIMARY KEY, count integer NOT NULL);
INSERT INTO tallies SELECT writer, 0 FROM generate_series(1, ${WRITER_COUNT}) AS writer;
`;

/** Makes the tables that {@link DatabaseLoad} writes to. */
export async function createTables(postgres: Postgres): Promise<void> {
  const session = new SqlSession(postgres.openPsql());
  await session.run(TABLES);
  await session.close();
}

export class DatabaseLoad {
  readonly #postgres: Postgres;
  readonly #journal: Journal;
  readonly #clock: CommitClock;
  #stopping = false;

  constructor(postgres: Postgres, journal: Journal, clock: CommitClock) {
    this.#postgres = postgres;
    this.#journal = journal;
    this.#clock = clock;
  }

  /** Writes until {@link stop}. Rejects when a transaction fails: none may. */
  async run(): Promise<void> {
    const writers = Array.from({ length: WRITER_COUNT }, (_, index) => index + 1);
    await Promise.all(writers.map(async (writer) => await this.#write(writer)));
  }

  /** Each writer ends after its transaction under way. */
  stop(): void {
    this.#stopping = true;
  }

  async #write(writer: number): Promise<void> {
    const session = new SqlSession(this.#postgres.openPsql());
    for (let sequence = this.#journal.startOf(writer); !this.#stopping; sequence++) {
      const entry = { writer, sequence };
      await session.run(transaction(entry));
      this.#clock.note();
      await this.#journal.add(entry);
    }
    await session.close();
  }
}

function transaction(entry: Entry): string {
  const { writer, sequence } = entry;
  return [
    'BEGIN;',
    `INSERT INTO entries VALUES (${writer}, ${sequence}, '${payload(entry)}');`,
    `UPDATE tallies SET count = count + 1 WHERE writer = ${writer};`,
    'COMMIT;',
  ].join(' ');
}

function payload({ writer, sequence }: Entry): string {
  return createHash('sha256').update(`${writer} ${sequence}`).digest('hex').repeat(PAYLOAD_DIGESTS);
}

/** Compares the journal with the database. Throws when transactions are there in part. */
export async function compareDatabase(
  postgres: Postgres,
  journal: readonly Entry[],
): Promise<Comparison> {
  const session = new SqlSession(postgres.openPsql());
  const torn = await session.run(
    `SELECT writer FROM tallies t WHERE count <> (SELECT count(*) FROM entries e WHERE e.writer = t.writer);`,
  );
  if (torn !== '') throw new Error(`Writers whose tally differs from their entries: ${torn}`);
  const rows = await session.run('SELECT writer, sequence, md5(payload) FROM entries;');
  await session.close();
  return compareRows(rows, journal);
}

/** Compares the journal with what the database holds: lines of `writer|sequence|md5 of the payload`. */
export function compareRows(rows: string, journal: readonly Entry[]): Comparison {
  const found = new Set(rows.split('\n'));
  return compare(journal, (entry) => {
    const digest = createHash('md5').update(payload(entry)).digest('hex');
    return found.has(`${entry.writer}|${entry.sequence}|${digest}`);
  });
}
