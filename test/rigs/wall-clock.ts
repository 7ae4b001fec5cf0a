/** The wall clock of the processes of one machine, which can jump: by libfaketime. Clocks that never go back stay as they are. */

import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';

import { faketimeLibraries } from '../../bootstrap/debian-packages.mjs';

const LIBRARY: string | undefined = faketimeLibraries().find((path) => existsSync(path));

/** Why no clock can jump here, or undefined. */
export const NO_CLOCK: string | undefined =
  LIBRARY === undefined ? 'libfaketime not installed (Debian: libfaketime)' : undefined;

export class WallClock {
  readonly #path: string;

  /** `path`: of a file that it makes. */
  constructor(path: string) {
    this.#path = path;
    this.jump(0);
  }

  /** What a process needs in its environment to have this clock. */
  get env(): NodeJS.ProcessEnv {
    assert.ok(LIBRARY !== undefined, NO_CLOCK);
    return {
      LD_PRELOAD: LIBRARY,
      FAKETIME_TIMESTAMP_FILE: this.#path,
      // How long a process may go without a look at the file: a look at each question costs 13 us, this one 60 ns more than none.
      FAKETIME_CACHE_DURATION: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  /** Within a second it is wrong by so much. */
  jump(seconds: number): void {
    writeFileSync(this.#path, seconds < 0 ? String(seconds) : `+${seconds}`);
  }
}
