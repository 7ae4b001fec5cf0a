/**
 * PostgreSQL on a mounted volume with replicas: a load whose every COMMIT that returned is in a journal outside of it. It dies with the node
 * that it is on, goes on on another, and is compared there with what it was promised.
 */

import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { readMounts } from '../../src/attacher/mount-table.ts';
import { atRigEnd } from '../../bench/lib/rig.ts';
import { CommitClock } from '../../src/tour/commit-clock.ts';
import { compareDatabase, createTables, DatabaseLoad } from '../../src/tour/database-load.ts';
import { Journal, readJournal } from '../../src/tour/journal.ts';
import { Postgres, postgresUser } from '../../src/tour/postgres.ts';
import { until } from './attach-rig.ts';
import type { ClusterRig } from './cluster-rig.ts';
import { insist } from './insist.ts';

const VOLUME = 'database';
const PATH = `/v1/volumes/${VOLUME}`;
/** The database, its log, and what the writers add between two takeovers. */
const VOLUME_BYTES: number = 2 ** 30;
/** How long anything of it may take that a fault holds up. */
const LIMIT_MS = 120_000;

/** What the name of its folder begins with. */
export const DATABASE_FOLDER = 'holdfast-postgres-';

type Running = { readonly load: DatabaseLoad; readonly ended: Promise<void> };

export class DatabaseVolume {
  /** COMMITs that were looked for after takeovers. */
  compared = 0;
  readonly #clock = new CommitClock(() => performance.now());
  readonly #cluster: ClusterRig;
  readonly #programs: string;
  readonly #folder: string;
  readonly #journalPath: string;
  readonly #journal: Journal;
  #postgres: Postgres;
  /** Where it is. */
  #node: string;
  #running: Running | undefined;
  /** Processes of nodes that were given up. */
  readonly #dying: Promise<unknown>[] = [];

  private constructor(
    options: {
      readonly cluster: ClusterRig;
      readonly programs: string;
      readonly folder: string;
      readonly node: string;
    },
    journal: Journal,
  ) {
    this.#cluster = options.cluster;
    this.#programs = options.programs;
    this.#folder = options.folder;
    this.#journalPath = join(options.folder, 'journal');
    this.#journal = journal;
    this.#node = options.node;
    this.#postgres = this.#postgresOn(options.node);
  }

  /** Makes the volume with `replicaCount` replicas, and the database on `node`. `programs`: the folder of PostgreSQL's. */
  static async start(options: {
    readonly cluster: ClusterRig;
    readonly programs: string;
    readonly node: string;
    readonly replicaCount: number;
  }): Promise<DatabaseVolume> {
    const { cluster, node, replicaCount } = options;
    const folder = mkdtempSync(join(tmpdir(), DATABASE_FOLDER));
    // PostgreSQL's user passes through it.
    chmodSync(folder, 0o755);
    const journal = await Journal.create(join(folder, 'journal'));
    const replicas = { count: replicaCount, spread: { level: 'zone', isHard: true } };
    await cluster
      .node(node)
      .api.post('/v1/volumes', { name: VOLUME, sizeBytes: VOLUME_BYTES, replicas });
    const database = new DatabaseVolume({ ...options, folder }, journal);
    atRigEnd(async () => database.abandon());
    await database.#mount(node);
    mkdirSync(database.#dataOn(node));
    await database.#postgres.initialize();
    await database.#postgres.start();
    await createTables(database.#postgres);
    return database;
  }

  get commits(): number {
    return this.#clock.count;
  }

  /** Writers write until {@link pause}. */
  resume(): void {
    const load = new DatabaseLoad(this.#postgres, this.#journal, this.#clock);
    const ended = load.run();
    // Told by whoever waits for it.
    ended.catch(() => undefined);
    this.#running = { load, ended };
  }

  /** Resolves when each writer's transaction has returned. Throws where one failed. */
  async pause(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.load.stop();
    await within('a COMMIT', running?.ended);
    await within('the end of PostgreSQL on a node that was given up', Promise.all(this.#dying));
  }

  /** Dies where it is, and goes on on `node`, where all that was promised must be. */
  async takeOver(node: string): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    running?.load.stop();
    // What waits for a machine that stands still dies when that goes on.
    const dead = this.#postgres.die();
    this.#dying.push(dead, running?.ended.catch(() => undefined) ?? dead);
    await this.#put(node, 'attachment', { as: 'device', force: true });
    await this.#mount(node);
    this.#node = node;
    this.#postgres = this.#postgresOn(node);
    await this.#postgres.start();
    const { lost, committed } = await compareDatabase(
      this.#postgres,
      await readJournal(this.#journalPath),
    );
    this.compared += committed;
    const [first] = lost;
    if (first !== undefined) {
      throw new Error(
        `${lost.length} of ${committed} transactions are lost, such as number ${first.sequence} of writer ${first.writer}`,
      );
    }
    if (running !== undefined) this.resume();
  }

  /** Ends it as with its node, which is going to end too. */
  abandon(): void {
    void this.#postgres.die();
  }

  /** Ends it in order, and leaves nothing. */
  async close(): Promise<void> {
    await this.#postgres.stop();
    await this.#journal.close();
    await this.#cluster.node(this.#node).api.delete(`${PATH}/mount`);
    // Nodes that were given up unmount what they had as soon as they hear of it.
    await until(() => !readMounts().some(({ path }) => path.startsWith(`${this.#folder}/`)));
    rmSync(this.#folder, { recursive: true });
  }

  async #mount(node: string): Promise<void> {
    const path = join(this.#folder, node);
    mkdirSync(path, { recursive: true });
    await this.#put(node, 'mount', { fs: 'ext4', path });
  }

  async #put(node: string, what: 'attachment' | 'mount', body: object): Promise<void> {
    const { api } = this.#cluster.node(node);
    await insist(() => api.put(`${PATH}/${what}`, body), { limitMs: LIMIT_MS });
  }

  #dataOn(node: string): string {
    return join(this.#folder, node, 'database');
  }

  /** Each node's server has a socket of its own: one that was given up may still have the other. */
  #postgresOn(node: string): Postgres {
    const socket = join(this.#folder, `socket-${node}`);
    mkdirSync(socket, { recursive: true });
    const user = postgresUser();
    chownSync(socket, user.uid, user.gid);
    const log = join(this.#folder, 'postgres.log');
    return new Postgres(this.#programs, user, { data: this.#dataOn(node), socket, log });
  }
}

async function within(what: string, work: Promise<unknown> | undefined): Promise<void> {
  const late = Symbol('late');
  const ended = new AbortController();
  const { signal } = ended;
  try {
    const timer = sleep(LIMIT_MS, late, { signal }).catch(() => undefined);
    if ((await Promise.race([work, timer])) === late) {
      throw new Error(`waited ${LIMIT_MS} ms for ${what}`);
    }
  } finally {
    ended.abort();
  }
}
