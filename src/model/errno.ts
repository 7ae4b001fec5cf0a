/** Linux errno values that Holdfast names. Results of `env.io` are their negatives. */
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EBADF = 9;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENOTTY = 25;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EROFS = 30;
export const EPIPE = 32;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ENODATA = 61;
export const ETIME = 62;
export const EOVERFLOW = 75;
export const EILSEQ = 84;
export const EOPNOTSUPP = 95;
export const EADDRINUSE = 98;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ESHUTDOWN = 108;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EDQUOT = 122;
export const ECANCELED = 125;

/** A system call that failed, for code that awaits. `errno` is positive. */
export class ErrnoError extends Error {
  override name = 'ErrnoError';
  readonly errno: number;
  readonly syscall: string;

  constructor(options: {
    readonly errno: number;
    readonly syscall: string;
    readonly path?: string;
  }) {
    super(
      `${options.syscall}${options.path === undefined ? '' : ` "${options.path}"`}: errno ${options.errno}`,
    );
    this.errno = options.errno;
    this.syscall = options.syscall;
  }
}
