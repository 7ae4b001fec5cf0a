/**
 * C functions that Node has no call for, with their signatures: locks, device sizes, space reservation, and the process
 * settings of process-guards.ts. All are cold. Each is exercised by libc.test.ts; none is given memory but small buffers of its own.
 */

import process from 'node:process';

import { ENOSYS } from '../../model/errno.ts';
import { type Ffi, openFfi } from '../ffi.ts';

// The two bear each other's numbers on macOS.
const [SEEK_DATA, SEEK_HOLE] = process.platform === 'darwin' ? [4, 3] : [3, 4];
const LOCK_EX_NB = 2 | 4;
const BLKGETSIZE64 = 0x8008_1272;
const BLKSSZGET = 0x1268;
const AT_EMPTY_PATH = 0x1000;
const STATX_DIOALIGN = 0x2000;
const STATX_BYTES = 256;
const STATX_MASK_WORD = 0;
const STATX_DIO_OFFSET_ALIGN_WORD = 156 / 4;
const IS_LINUX = process.platform === 'linux';
const MLOCK_ONFAULT = 1;
/** Of macOS. */
const F_NOCACHE = 48;
const PR_SET_IO_FLUSHER = 57;
const WORD_RANGE = 2 ** 32;

/** Calls return 0, or the errno of their failure, unless they say otherwise. */
export type Libc = {
  /** flock(LOCK_EX | LOCK_NB); EAGAIN when another holds it. Freed with the last descriptor of the open file. */
  lockExclusive(fd: number): number;
  /** Where data begins, or a hole, at or after `fromBytes` of a regular file; or a negative errno: ENXIO where there is none. */
  seekData(fd: number, fromBytes: number): number;
  seekHole(fd: number, fromBytes: number): number;
  /** Bytes of a block device, or a negative errno. */
  blockSizeBytes(fd: number): number;
  /** Logical sector of a block device in bytes, or a negative errno. */
  blockSectorBytes(fd: number): number;
  /** Alignment of direct I/O on a regular file; 0: none is possible; undefined: the kernel does not say. */
  directAlignmentBytes(fd: number): number | undefined;
  /** Reserves space for bytes 0 to `sizeBytes`, on a thread. Where the system has no such call nothing is reserved. */
  reserve(fd: number, sizeBytes: number): Promise<number>;
  /** Locks each page of a buffer once it is touched: those never touched cost nothing. ENOSYS where there is no such call. */
  lockOnFault(buffer: ArrayBuffer): number;
  /** 0, the errno, or ENOSYS where there is no such thing. */
  setIoFlusher(): number;
  /** macOS's direct I/O: asks for reads and writes of `fd` past the page cache. */
  bypassCache(fd: number): number;
};

type Ioctl = (fd: number, request: number, out: Uint8Array) => number;
type Statx = (fd: number, path: string, flags: number, mask: number, out: Uint8Array) => number;

/** Looks the functions up. Throws where koffi or one of them is missing. */
export function openLibc(): Libc {
  const ffi = openFfi();
  const flock = ffi.func<(fd: number, operation: number) => number>(
    'int flock(int fd, int operation)',
  );
  const ioctl = ffi.func<Ioctl>('int ioctl(int fd, unsigned long request, _Out_ uint8_t *out)');
  const errnoOf = (result: number): number => (result < 0 ? ffi.errno() : 0);

  return {
    ...seeksOf(ffi),
    lockExclusive: (fd) => errnoOf(flock(fd, LOCK_EX_NB)),
    blockSizeBytes: (fd) => {
      const out = new Uint32Array(2);
      const errno = errnoOf(ioctl(fd, BLKGETSIZE64, new Uint8Array(out.buffer)));
      return errno === 0 ? out[1]! * WORD_RANGE + out[0]! : -errno;
    },
    blockSectorBytes: (fd) => {
      const out = new Uint32Array(1);
      const errno = errnoOf(ioctl(fd, BLKSSZGET, new Uint8Array(out.buffer)));
      return errno === 0 ? out[0]! : -errno;
    },
    directAlignmentBytes: (fd) => {
      if (!IS_LINUX) return undefined;
      const statx = ffi.func<Statx>(
        'int statx(int fd, const char *path, int flags, uint32_t mask, _Out_ uint8_t *out)',
      );
      const out = new Uint32Array(STATX_BYTES / 4);
      const result = statx(fd, '', AT_EMPTY_PATH, STATX_DIOALIGN, new Uint8Array(out.buffer));
      if (result < 0 || (out[STATX_MASK_WORD]! & STATX_DIOALIGN) === 0) return undefined;
      return out[STATX_DIO_OFFSET_ALIGN_WORD]!;
    },
    reserve: async (fd, sizeBytes) => {
      if (process.platform === 'darwin') return 0;
      const reserve = ffi.funcAsync('int posix_fallocate(int fd, int64_t offset, int64_t length)');
      return reserve(fd, 0, sizeBytes);
    },
    lockOnFault: (buffer) => {
      if (!IS_LINUX) return ENOSYS;
      const mlock2 = ffi.func<(address: number, length: number, flags: number) => number>(
        'int mlock2(uintptr_t address, size_t length, unsigned int flags)',
      );
      return errnoOf(mlock2(ffi.address(buffer), buffer.byteLength, MLOCK_ONFAULT));
    },
    setIoFlusher: () => {
      if (!IS_LINUX) return ENOSYS;
      const prctl = ffi.func<(option: number, ...values: number[]) => number>(
        'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
      );
      return errnoOf(prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0));
    },
    bypassCache: (fd) => {
      const fcntl = ffi.func<(fd: number, command: number, type: string, value: number) => number>(
        'int fcntl(int fd, int command, ...)',
      );
      return errnoOf(fcntl(fd, F_NOCACHE, 'int', 1));
    },
  };
}

function seeksOf(ffi: Ffi): Pick<Libc, 'seekData' | 'seekHole'> {
  const lseek = ffi.func<(fd: number, offset: number, whence: number) => number>(
    'int64_t lseek(int fd, int64_t offset, int whence)',
  );
  const seek = (fd: number, fromBytes: number, whence: number): number => {
    const at = lseek(fd, fromBytes, whence);
    return at < 0 ? -ffi.errno() : at;
  };
  return {
    seekData: (fd, fromBytes) => seek(fd, fromBytes, SEEK_DATA),
    seekHole: (fd, fromBytes) => seek(fd, fromBytes, SEEK_HOLE),
  };
}
