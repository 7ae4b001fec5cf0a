/** From Node's errors to Linux errno values. */

import { EIO, ERRNO_BY_NAME, ErrnoError } from '../../model/errno.ts';

/** The positive errno in an error of Node's I/O calls, or `otherwise` if it carries none. */
export function errnoOf(error: unknown, otherwise: number = EIO): number {
  if (!(error instanceof Error)) return otherwise;
  // The name first: Linux's number is not every system's.
  const named = 'code' in error ? ERRNO_BY_NAME[String(error.code)] : undefined;
  if (named !== undefined) return named;
  return 'errno' in error && typeof error.errno === 'number' ? Math.abs(error.errno) : otherwise;
}

/** An error of Node's I/O calls as the {@link ErrnoError} that Env promises. */
export function toErrnoError(error: unknown, syscall: string, path?: string): ErrnoError {
  if (error instanceof ErrnoError) return error;
  const errno = errnoOf(error);
  return new ErrnoError({ errno, syscall, ...(path === undefined ? {} : { path }) });
}
