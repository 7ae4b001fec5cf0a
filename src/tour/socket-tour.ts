/** The tour where nothing can be mounted: writers on the NBD socket that verify every block, and the engine killed under them. */

import { join } from 'node:path';
import type { Comparison } from './comparison.ts';
import { readJournal } from './journal.ts';
import { killUnderLoad } from './kills-under-load.ts';
import { SocketLoad, compareVolume } from './socket-load.ts';
import { type Tour, VOLUME_BYTES, VOLUME_NAME } from './tour.ts';

type Volume = { readonly uri: string; readonly sizeBytes: number };

export class SocketTour {
  readonly #tour: Tour;
  #isAttached = false;

  constructor(tour: Tour) {
    this.#tour = tour;
  }

  async run(): Promise<Comparison> {
    const { screen, commandLine } = this.#tour;
    await screen.step(`Volume "${VOLUME_NAME}"`, async () => {
      await commandLine.freshVolume(VOLUME_NAME, VOLUME_BYTES);
      return `${VOLUME_BYTES / 2 ** 30} GiB, takes space only for what is written`;
    });
    const volume = await this.#attach();
    const journalPath = join(this.#tour.keptFolder, 'journal');
    await killUnderLoad(
      this.#tour,
      journalPath,
      (journal, clock) => new SocketLoad(volume, journal, clock),
    );
    await screen.step('Detach, end Holdfast, start it again, attach', async () => {
      await this.#detach();
      await commandLine.run('down');
      await commandLine.run('up', '--detach');
      return '';
    });
    const again = await this.#attach();
    return await compareVolume(again, await readJournal(journalPath));
  }

  async close(): Promise<void> {
    if (this.#isAttached) await this.#detach();
  }

  /** It has no processes of its own. */
  kill(): void {}

  async #attach(): Promise<Volume> {
    const { commandLine, screen } = this.#tour;
    let uri = '';
    await screen.step('Attach it on an NBD socket', async () => {
      ({ uri } = await commandLine.run<{ uri: string }>('volume', 'attach', VOLUME_NAME, '--nbd'));
      return '';
    });
    this.#isAttached = true;
    return { uri, sizeBytes: VOLUME_BYTES };
  }

  async #detach(): Promise<void> {
    await this.#tour.commandLine.run('volume', 'detach', VOLUME_NAME);
    this.#isAttached = false;
  }
}
