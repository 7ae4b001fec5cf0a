/** Reads the options of the simulator's programs: wrong ones end them with a sentence and status 2, before any work. */

import { isUsageError } from '../src/lib/count-option.ts';

export function readOptions<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!isUsageError(error)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(2);
  }
}
