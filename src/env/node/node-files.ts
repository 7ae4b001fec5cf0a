/** `Env.files` on Node's fs, with the C calls that a drive needs besides. */

import fs from 'node:fs';
import process from 'node:process';

import { EINVAL, EISDIR, ENOENT, ENOTBLK, ENXIO, ErrnoError } from '../../model/errno.ts';
import type { DataRange, Files, OpenFile, OpenFileOptions, TcpListener } from '../env.ts';
import type { TcpAddress } from '../tcp-address.ts';
import { toErrnoError } from './errno-of.ts';
import { type Libc, openLibc } from './libc.ts';
import { fileBelow, refuseUsedAbove } from './loop-use.ts';

const FILE_MODE = 0o600;
const SECTOR_SMALL_BYTES = 512;
const SECTOR_LARGE_BYTES = 4096;

/** statfs(2): FUSE_SUPER_MAGIC, virtiofs's too. */
const FUSE = 0x6573_5546;

/** Where sockets come from: each maker of Io has its own descriptors. */
export type Listeners = Pick<Files, 'listen' | 'listenTcp'>;

export type NodeFilesOptions = Listeners & {
  /** Told of each file that is opened, and whether a program serves its file system. */
  readonly onOpen?: (fd: number, isFuse: boolean) => void;
};

export class NodeFiles implements Files {
  readonly #options: NodeFilesOptions;
  #libc: Libc | undefined;

  constructor(options: NodeFilesOptions) {
    this.#options = options;
  }

  async open(path: string, options: OpenFileOptions): Promise<OpenFile> {
    const flags = await openFlags(path, options);
    const fd = await openDescriptor(path, flags).catch((error: unknown) => clearer(error, path));
    try {
      if (options.direct === true && process.platform === 'darwin') {
        const errno = this.#c().bypassCache(fd);
        if (errno !== 0) throw new ErrnoError({ errno, syscall: 'F_NOCACHE', path });
      }
      const file = await this.#describe(fd, path, options);
      this.#options.onOpen?.(fd, file.kind === 'file' && (await isOnFuse(path)));
      return file;
    } catch (error) {
      await closeDescriptor(fd);
      throw error;
    }
  }

  async allocate(
    fd: number,
    options: { readonly sizeBytes: number; readonly sparse: boolean },
  ): Promise<void> {
    const before = await this.sizeBytes(fd);
    await truncate(fd, options.sizeBytes);
    if (options.sparse) return;
    const errno = await this.#c().reserve(fd, options.sizeBytes);
    if (errno === 0) return;
    // Cutting the file back also frees what was reserved before the space ran out.
    await truncate(fd, before);
    throw new ErrnoError({ errno, syscall: 'posix_fallocate' });
  }

  async sizeBytes(fd: number): Promise<number> {
    const stat = await statDescriptor(fd);
    if (!stat.isBlockDevice()) return stat.size;
    const sizeBytes = this.#c().blockSizeBytes(fd);
    if (sizeBytes < 0) throw new ErrnoError({ errno: -sizeBytes, syscall: 'BLKGETSIZE64' });
    return sizeBytes;
  }

  async nextData(fd: number, fromBytes: number): Promise<DataRange | undefined> {
    const start = this.#c().seekData(fd, fromBytes);
    if (start === -ENXIO) return undefined;
    if (start < 0) throw new ErrnoError({ errno: -start, syscall: 'SEEK_DATA' });
    const end = this.#c().seekHole(fd, start);
    if (end < 0) throw new ErrnoError({ errno: -end, syscall: 'SEEK_HOLE' });
    return { fromBytes: start, toBytes: end };
  }

  async close(fd: number): Promise<void> {
    await closeDescriptor(fd);
  }

  listen(path: string): Promise<number> {
    return this.#options.listen(path);
  }

  listenTcp(address: TcpAddress): Promise<TcpListener> {
    return this.#options.listenTcp(address);
  }

  async remove(path: string): Promise<void> {
    try {
      await fs.promises.unlink(path);
    } catch (error) {
      throw toErrnoError(error, 'unlink', path);
    }
  }

  /** Opened when first needed: without it everything that needs no C call still works. */
  #c(): Libc {
    this.#libc ??= openLibc();
    return this.#libc;
  }

  async #describe(fd: number, path: string, options: OpenFileOptions): Promise<OpenFile> {
    const stat = await statDescriptor(fd);
    if (stat.isDirectory()) throw new ErrnoError({ errno: EISDIR, syscall: 'open', path });
    if (!stat.isFile() && !stat.isBlockDevice()) {
      throw new ErrnoError({ errno: ENOTBLK, syscall: 'open', path });
    }
    const kind = stat.isFile() ? 'file' : 'block';
    if (options.exclusive === true) {
      if (kind === 'file') {
        this.#lock(fd, path);
        refuseUsedAbove(path);
      } else this.#refuseUsedBelow(stat.rdev);
    }
    const sectorBytes =
      options.direct === true ? this.#sectorBytes(fd, kind, path) : SECTOR_SMALL_BYTES;
    return { fd, kind, sizeBytes: await this.sizeBytes(fd), sectorBytes };
  }

  #lock(fd: number, path: string): void {
    const errno = this.#c().lockExclusive(fd);
    if (errno !== 0) throw new ErrnoError({ errno, syscall: 'flock', path });
  }

  /** A loop device is as much in use as the file below it, which has a lock of its own, and as another one over that file. */
  #refuseUsedBelow(rdev: number): void {
    const below = fileBelow(rdev);
    if (below === undefined) return;
    const fd = fs.openSync(below.path, 'r');
    try {
      this.#lock(fd, below.path);
      refuseUsedAbove(below.path, below.loop);
    } finally {
      fs.closeSync(fd);
    }
  }

  #sectorBytes(fd: number, kind: OpenFile['kind'], path: string): number {
    const bytes =
      kind === 'block' ? this.#c().blockSectorBytes(fd) : this.#c().directAlignmentBytes(fd);
    // A kernel older than 6.1 does not say. Every multiple of 4096 is one of 512.
    if (bytes === undefined) return SECTOR_LARGE_BYTES;
    if (bytes < 0) throw new ErrnoError({ errno: -bytes, syscall: 'BLKSSZGET', path });
    if (bytes === 0 || bytes > SECTOR_LARGE_BYTES) {
      throw new ErrnoError({ errno: EINVAL, syscall: 'direct I/O', path });
    }
    return bytes <= SECTOR_SMALL_BYTES ? SECTOR_SMALL_BYTES : SECTOR_LARGE_BYTES;
  }
}

async function openFlags(path: string, options: OpenFileOptions): Promise<number> {
  const { O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_DIRECT } = fs.constants;
  let flags = options.readOnly === true ? O_RDONLY : O_RDWR;
  if (options.create === true) flags |= O_CREAT | O_EXCL;
  // Undefined where the system has no direct I/O.
  if (options.direct === true) flags |= O_DIRECT ?? 0;
  // On a block device O_EXCL without O_CREAT means: nobody else may have it mounted or open like this.
  if (options.exclusive === true && (await isBlockDevice(path))) flags |= O_EXCL;
  return flags;
}

async function isOnFuse(path: string): Promise<boolean> {
  try {
    return (await fs.promises.statfs(path)).type === FUSE;
  } catch {
    // It has no name any more.
    return false;
  }
}

async function isBlockDevice(path: string): Promise<boolean> {
  try {
    return (await fs.promises.stat(path)).isBlockDevice();
  } catch (error) {
    const failure = toErrnoError(error, 'stat', path);
    if (failure.errno === ENOENT) return false;
    throw failure;
  }
}

function openDescriptor(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(path, flags, FILE_MODE, (error, fd) => {
      if (error) reject(toErrnoError(error, 'open', path));
      else resolve(fd);
    });
  });
}

/** What is no file has no direct I/O either (EINVAL), and that is not what is wrong with it. */
async function clearer(error: unknown, path: string): Promise<never> {
  const stat = await fs.promises.stat(path).catch(() => undefined);
  if (stat?.isDirectory() === true) {
    throw new ErrnoError({ errno: EISDIR, syscall: 'open', path });
  }
  if (stat !== undefined && !stat.isFile() && !stat.isBlockDevice()) {
    throw new ErrnoError({ errno: ENOTBLK, syscall: 'open', path });
  }
  throw error;
}

function statDescriptor(fd: number): Promise<fs.Stats> {
  return new Promise((resolve, reject) => {
    fs.fstat(fd, (error, stat) => {
      if (error) reject(toErrnoError(error, 'fstat'));
      else resolve(stat);
    });
  });
}

function truncate(fd: number, sizeBytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.ftruncate(fd, sizeBytes, (error) => {
      if (error) reject(toErrnoError(error, 'ftruncate'));
      else resolve();
    });
  });
}

function closeDescriptor(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.close(fd, (error) => {
      if (error) reject(toErrnoError(error, 'close'));
      else resolve();
    });
  });
}
