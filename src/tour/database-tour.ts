/** The tour where volumes can be mounted: PostgreSQL on ext4 on a volume, and the engine killed under it. */

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Comparison } from './comparison.ts';
import { DatabaseLoad, compareDatabase, createTables } from './database-load.ts';
import { readJournal } from './journal.ts';
import { killUnderLoad } from './kills-under-load.ts';
import { Postgres, postgresUser } from './postgres.ts';
import { type Tour, VOLUME_BYTES, VOLUME_NAME } from './tour.ts';

export class DatabaseTour {
  readonly #tour: Tour;
  readonly #postgres: Postgres;
  readonly #mountPoint: string;
  #isMounted = false;

  constructor(tour: Tour, programs: string) {
    this.#tour = tour;
    this.#mountPoint = join(tour.workFolder, 'volume');
    const socket = join(tour.workFolder, 'socket');
    mkdirSync(this.#mountPoint);
    mkdirSync(socket);
    this.#postgres = new Postgres(programs, postgresUser(), {
      data: join(this.#mountPoint, 'database'),
      socket,
      log: join(tour.keptFolder, 'postgres.log'),
    });
  }

  async run(): Promise<Comparison> {
    const { screen, commandLine } = this.#tour;
    await screen.step(`Volume "${VOLUME_NAME}"`, async () => {
      await commandLine.freshVolume(VOLUME_NAME, VOLUME_BYTES);
      return `${VOLUME_BYTES / 2 ** 30} GiB, takes space only for what is written`;
    });
    await screen.step('Attach, format and mount it', async () => await this.#mount());
    await screen.step(await this.#postgres.version(), async () => {
      mkdirSync(join(this.#mountPoint, 'database'));
      await this.#postgres.initialize();
      await this.#postgres.start();
      await createTables(this.#postgres);
      return 'database made and started on the volume';
    });
    const journalPath = join(this.#tour.keptFolder, 'journal');
    await killUnderLoad(
      this.#tour,
      journalPath,
      (journal, clock) => new DatabaseLoad(this.#postgres, journal, clock),
    );
    await screen.step('Stop PostgreSQL and unmount', async () => {
      await this.#postgres.stop();
      await this.#unmount();
      return '';
    });
    await screen.step('Check the file system (e2fsck -fn)', async () => await this.#check());
    await screen.step('Mount it again', async () => await this.#mount());
    await screen.step('Second start of PostgreSQL', async () => {
      await this.#postgres.start();
      return '';
    });
    const journal = await readJournal(journalPath);
    return await compareDatabase(this.#postgres, journal);
  }

  /** Ends PostgreSQL in order and unmounts. */
  async close(): Promise<void> {
    await this.#postgres.stop();
    if (this.#isMounted) await this.#unmount();
  }

  /** Ends what it started, at once. */
  kill(): void {
    this.#postgres.kill();
  }

  /** Reads all of the file system's metadata and changes nothing. Returns e2fsck's last line. */
  async #check(): Promise<string> {
    const { commandLine } = this.#tour;
    type Attachment = { readonly device: string };
    const { device } = await commandLine.run<Attachment>('volume', 'attach', VOLUME_NAME);
    const env = { PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
    const { stdout } = await promisify(execFile)('e2fsck', ['-fn', device], { env });
    await commandLine.run('volume', 'detach', VOLUME_NAME);
    return stdout.trimEnd().split('\n').at(-1)?.replace(`${device}: `, '') ?? '';
  }

  async #mount(): Promise<string> {
    const { commandLine } = this.#tour;
    await commandLine.run('volume', 'mount', VOLUME_NAME, '--fs', 'ext4', '--at', this.#mountPoint);
    this.#isMounted = true;
    return `ext4 at ${this.#mountPoint}`;
  }

  async #unmount(): Promise<void> {
    await this.#tour.commandLine.run('volume', 'unmount', VOLUME_NAME);
    this.#isMounted = false;
  }
}
