/** What the two tours share. */

import type { CommandLine } from './command-line.ts';
import type { Screen } from './screen.ts';

export const VOLUME_NAME = 'tour';
/** More than the tour writes: a database of 40 MiB, its log, and what the writers add in half a minute. */
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
