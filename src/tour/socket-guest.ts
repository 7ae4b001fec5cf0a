/** The guest where nothing can be mounted: writers on the NBD socket that verify every block. */

import type { CommitClock } from './commit-clock.ts';
import type { Comparison } from './comparison.ts';
import { type Guest, type Load, type Tour, VOLUME_BYTES, VOLUME_NAME } from './guest.ts';
import type { Entry, Journal } from './journal.ts';
import { SocketLoad, compareVolume } from './socket-load.ts';

export class SocketGuest implements Guest {
  readonly #tour: Tour;
  #attached: { readonly uri: string; readonly node: string } | undefined;

  constructor(tour: Tour) {
    this.#tour = tour;
  }

  begin(node: string): Promise<void> {
    return this.resume(node, { force: false });
  }

  async resume(node: string, { force }: { readonly force: boolean }): Promise<void> {
    const { commandLine, screen } = this.#tour;
    const words = ['volume', 'attach', VOLUME_NAME, '--nbd', '--node', node];
    const { uri } = await commandLine.show<{ uri: string }>(
      screen,
      ...words,
      ...(force ? ['--force'] : []),
    );
    this.#attached = { uri, node };
  }

  openLoad(journal: Journal, clock: CommitClock): Load {
    return new SocketLoad(this.#volume(), journal, clock);
  }

  /** It has no processes of its own. */
  async die(): Promise<void> {
    this.#attached = undefined;
  }

  async end(): Promise<void> {
    await this.#tour.screen.step('Detach', async () => {
      await this.close();
      return '';
    });
  }

  compare(journal: readonly Entry[]): Promise<Comparison> {
    return compareVolume(this.#volume(), journal);
  }

  async close(): Promise<void> {
    if (this.#attached === undefined) return;
    const { node } = this.#attached;
    await this.#tour.commandLine.run('volume', 'detach', VOLUME_NAME, '--node', node);
    this.#attached = undefined;
  }

  kill(): void {}

  #volume(): { readonly uri: string; readonly sizeBytes: number } {
    if (this.#attached === undefined) throw new Error('The volume is not attached');
    return { uri: this.#attached.uri, sizeBytes: VOLUME_BYTES };
  }
}
