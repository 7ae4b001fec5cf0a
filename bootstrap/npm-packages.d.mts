/** Whether every package of the lock file in `home` is installed in the version that it names. */
export function isInstalled(home?: string): boolean;
/** Says on standard error, in JSON where the words of the command ask for it, that packages are missing. Returns the exit status. */
export function tellMissing(words: readonly string[]): number;
