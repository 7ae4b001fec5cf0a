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
export const ENOTBLK = 15;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const ENOTTY = 25;
export const ETXTBSY = 26;
export const EFBIG = 27;
export const ENOSPC = 28;
export const EROFS = 30;
export const EPIPE = 32;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ELOOP = 40;
export const ENODATA = 61;
export const ETIME = 62;
export const EOVERFLOW = 75;
export const EILSEQ = 84;
export const EOPNOTSUPP = 95;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ESHUTDOWN = 108;
export const ESTALE = 116;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EDQUOT = 122;
export const ECANCELED = 125;

/** By name: other systems number some of them otherwise. */
export const ERRNO_BY_NAME: Readonly<Record<string, number>> = {
  EPERM,
  ENOENT,
  EINTR,
  EIO,
  ENXIO,
  EBADF,
  EAGAIN,
  ENOMEM,
  EACCES,
  ENOTBLK,
  EBUSY,
  EEXIST,
  ENODEV,
  ENOTDIR,
  EISDIR,
  EINVAL,
  ENFILE,
  EMFILE,
  ENOTTY,
  ETXTBSY,
  EFBIG,
  ENOSPC,
  EROFS,
  EPIPE,
  ENAMETOOLONG,
  ENOSYS,
  ELOOP,
  ENODATA,
  ETIME,
  EOVERFLOW,
  EILSEQ,
  EOPNOTSUPP,
  EAFNOSUPPORT,
  EADDRINUSE,
  EADDRNOTAVAIL,
  ECONNABORTED,
  ECONNRESET,
  ESHUTDOWN,
  ESTALE,
  ETIMEDOUT,
  ECONNREFUSED,
  EDQUOT,
  ECANCELED,
};

/** What the commoner ones mean, in the words of strerror(3), and their names. */
const WORDS: Readonly<Record<number, string>> = {
  [EPERM]: 'operation not permitted (EPERM)',
  [ENOENT]: 'no such file or directory (ENOENT)',
  [EIO]: 'input/output error (EIO)',
  [ENXIO]: 'no such device or address (ENXIO)',
  [ENOMEM]: 'cannot allocate memory (ENOMEM)',
  [EACCES]: 'permission denied (EACCES)',
  [ENOTBLK]: 'block device required (ENOTBLK)',
  [EBUSY]: 'device or resource busy (EBUSY)',
  [EEXIST]: 'file exists (EEXIST)',
  [ENODEV]: 'no such device (ENODEV)',
  [ENOTDIR]: 'not a directory (ENOTDIR)',
  [EISDIR]: 'is a directory (EISDIR)',
  [EINVAL]: 'invalid argument (EINVAL)',
  [ENFILE]: 'too many open files in the system (ENFILE)',
  [EMFILE]: 'too many open files (EMFILE)',
  [ETXTBSY]: 'text file busy (ETXTBSY)',
  [EFBIG]: 'file too large (EFBIG)',
  [ENOSPC]: 'no space left on device (ENOSPC)',
  [EROFS]: 'read-only file system (EROFS)',
  [ENAMETOOLONG]: 'file name too long (ENAMETOOLONG)',
  [ELOOP]: 'too many levels of symbolic links (ELOOP)',
  [EOPNOTSUPP]: 'operation not supported (EOPNOTSUPP)',
  [EDQUOT]: 'disk quota exceeded (EDQUOT)',
};

/** What `errno` (positive) means to people. */
export const errnoInWords = (errno: number): string => WORDS[errno] ?? `errno ${errno}`;

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
      `${options.syscall}${options.path === undefined ? '' : ` "${options.path}"`}: ${errnoInWords(options.errno)}`,
    );
    this.errno = options.errno;
    this.syscall = options.syscall;
  }
}
