/** From Node's errors to errno. */

import { EIO, ErrnoError } from '../../model/errno.ts';

/** The positive errno in an error of Node's I/O calls, or `otherwise` if it carries none. */
export function errnoOf(error: unknown, otherwise: number = EIO): number {
  if (error instanceof Error && 'errno' in error && typeof error.errno === 'number') {
    return Math.abs(error.errno);
  }
  return otherwise;
}

/** An error of Node's I/O calls as the {@link ErrnoError} that Env promises. */
export function toErrnoError(error: unknown, syscall: string, path?: string): ErrnoError {
  if (error instanceof ErrnoError) return error;
  const errno = errnoOf(error);
  return new ErrnoError({ errno, syscall, ...(path === undefined ? {} : { path }) });
}
