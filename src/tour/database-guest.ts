/** The guest where volumes can be mounted: PostgreSQL on ext4. */

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CommitClock } from './commit-clock.ts';
import type { Comparison } from './comparison.ts';
import { DatabaseLoad, compareDatabase, createTables } from './database-load.ts';
import { type Guest, type Load, type Tour, VOLUME_NAME } from './guest.ts';
import type { Entry, Journal } from './journal.ts';
import { Postgres, postgresUser } from './postgres.ts';

export class DatabaseGuest implements Guest {
  readonly #tour: Tour;
  readonly #programs: string;
  #postgres: Postgres | undefined;
  /** Where it is mounted. */
  #node: string | undefined;

  /** `programs`: the folder of PostgreSQL's. */
  constructor(tour: Tour, programs: string) {
    this.#tour = tour;
    this.#programs = programs;
  }

  async begin(node: string): Promise<void> {
    const { screen } = this.#tour;
    screen.line(`Attach, format and mount it on node ${node}`);
    await this.#mount(node, '--fs', 'ext4');
    const postgres = this.#postgresOn(node);
    await screen.step(`PostgreSQL ${await postgres.version()}`, async () => {
      mkdirSync(join(this.#mountPointOf(node), 'database'));
      await postgres.initialize();
      await postgres.start();
      await createTables(postgres);
      return 'database made and started on the volume';
    });
  }

  async resume(node: string, { force }: { readonly force: boolean }): Promise<void> {
    const { commandLine, screen } = this.#tour;
    if (force) {
      await commandLine.show(screen, 'volume', 'attach', VOLUME_NAME, '--node', node, '--force');
    }
    await this.#mount(node);
    const data = join(this.#mountPointOf(node), 'database');
    await screen.step(`  pg_ctl start -D ${data}`, async () => {
      await this.#postgresOn(node).start();
      return '';
    });
  }

  openLoad(journal: Journal, clock: CommitClock): Load {
    return new DatabaseLoad(this.#running(), journal, clock);
  }

  /** The mount of a node that died is swept when that one comes back. */
  async die(): Promise<void> {
    this.#node = undefined;
    await this.#postgres?.die();
  }

  async end(): Promise<void> {
    const { screen } = this.#tour;
    const node = this.#node ?? '';
    await screen.step('Stop PostgreSQL and unmount', async () => {
      await this.close();
      return '';
    });
    await screen.step('Check the file system (e2fsck -fn)', () => this.#check(node));
  }

  compare(journal: readonly Entry[]): Promise<Comparison> {
    return compareDatabase(this.#running(), journal);
  }

  async close(): Promise<void> {
    await this.#postgres?.stop();
    if (this.#node === undefined) return;
    await this.#tour.commandLine.run('volume', 'unmount', VOLUME_NAME, '--node', this.#node);
    this.#node = undefined;
  }

  kill(): void {
    this.#postgres?.kill();
  }

  /** Reads all of the file system's metadata and changes nothing. Returns e2fsck's last line. */
  async #check(node: string): Promise<string> {
    const { commandLine } = this.#tour;
    const where = [VOLUME_NAME, '--node', node];
    type Attachment = { readonly device: string };
    const { device } = await commandLine.run<Attachment>('volume', 'attach', ...where);
    const env = { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
    const { stdout } = await promisify(execFile)('e2fsck', ['-fn', device], { env });
    await commandLine.run('volume', 'detach', ...where);
    return stdout.trimEnd().split('\n').at(-1)?.replace(`${device}: `, '') ?? '';
  }

  async #mount(node: string, ...more: readonly string[]): Promise<void> {
    const { commandLine, screen } = this.#tour;
    const at = this.#mountPointOf(node);
    mkdirSync(at, { recursive: true });
    const words = ['volume', 'mount', VOLUME_NAME, '--node', node, '--at', at, ...more];
    await commandLine.show(screen, ...words);
    this.#node = node;
  }

  #mountPointOf(node: string): string {
    return join(this.#tour.workFolder, `volume-${node}`);
  }

  #postgresOn(node: string): Postgres {
    const socket = join(this.#tour.workFolder, 'socket');
    mkdirSync(socket, { recursive: true });
    this.#postgres = new Postgres(this.#programs, postgresUser(), {
      data: join(this.#mountPointOf(node), 'database'),
      socket,
      log: join(this.#tour.keptFolder, 'postgres.log'),
    });
    return this.#postgres;
  }

  #running(): Postgres {
    if (this.#postgres === undefined) throw new Error('PostgreSQL was not started');
    return this.#postgres;
  }
}
