/** Whether every package of the lock file in `home` is installed in the version that it names. */
export function isInstalled(home?: string): boolean;
