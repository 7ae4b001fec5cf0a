/** Numbers in the options of rigs. A rig that takes "abc" for 0 does nothing and passes. */

/** Wrong options: the message is all that the user needs, and the exit status is 2. */
export class UsageError extends Error {}

/** Whether `error` is ours or that of `parseArgs` on options that do not exist. */
export function isUsageError(error: unknown): error is Error {
  if (error instanceof UsageError) return true;
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS_');
}

/** The whole number of `text`, from `min` on. Throws a {@link UsageError} that names the option. */
export function countOption(name: string, text: string, min = 1): number {
  const value = Number(text);
  if (!/^\d+$/u.test(text) || !Number.isSafeInteger(value) || value < min) {
    throw new UsageError(`--${name} is a whole number from ${min} on, not "${text}"`);
  }
  return value;
}

/** The positive number of `text`, which may have a fraction. Throws a {@link UsageError} that names the option. */
export function positiveOption(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d*\.?\d+$/u.test(text) || !Number.isFinite(value) || value <= 0) {
    throw new UsageError(`--${name} is a number above 0, not "${text}"`);
  }
  return value;
}
