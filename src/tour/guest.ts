/** What uses the tour's volume: PostgreSQL on a mounted file system, or writers on an NBD socket. */

import type { CommandLine } from './command-line.ts';
import type { CommitClock } from './commit-clock.ts';
import type { Comparison } from './comparison.ts';
import type { Entry, Journal } from './journal.ts';
import type { Screen } from './screen.ts';

export const VOLUME_NAME = 'tour';
/** More than the tour writes: a database of 40 MiB, its log, and what the writers add in a minute. */
export const VOLUME_BYTES: number = 2 * 2 ** 30;

export type Tour = {
  readonly commandLine: CommandLine;
  readonly screen: Screen;
  /** For what lasts as long as the tour: mount points, sockets. Any user may pass through it. */
  readonly workFolder: string;
  /** For what is worth a look afterwards: the journal, logs. */
  readonly keptFolder: string;
  /** How often the engine is killed. */
  readonly killCount: number;
  /** The user has asked to stop. */
  readonly signal: AbortSignal;
};

/** Writers that keep a journal. */
export type Load = {
  /** Runs until {@link stop}. Rejects when a write fails. */
  run(): Promise<void>;
  stop(): void;
};

export type Guest = {
  /** Begins on the fresh volume, on a node. */
  begin(node: string): Promise<void>;
  /** Goes on with what the volume holds, on a node, by commands that it shows. `force`: the node that has the volume is dead. */
  resume(node: string, options: { readonly force: boolean }): Promise<void>;
  openLoad(journal: Journal, clock: CommitClock): Load;
  /** Ends as with its machine: at once. */
  die(): Promise<void>;
  /** Ends in order, and gives the volume back. */
  end(): Promise<void>;
  /** What of the journal is there. */
  compare(journal: readonly Entry[]): Promise<Comparison>;
  /** Ends whatever it has under way, in order, as far as it has come. */
  close(): Promise<void>;
  /** Ends its processes at once. */
  kill(): void;
};
