/**
 * Everything outside the program, in one value. Code that does I/O takes `env` first; only env/node and
 * env/uring touch Node's I/O, and only sim/ has another Env.
 */

import type { Io } from './io.ts';
import type { TcpAddress } from './tcp-address.ts';

export type Env = {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly io: Io;
  readonly boot: Boot;
};

/** This run of the machine, and what a process notes in it for those that come after. */
export type Boot = {
  /** 32 hex digits: the same from boot to shutdown, and never again. */
  readonly id: string;
  /** Whether `name` was noted in this boot, by whatever process of this user, and not taken back. False also where notes are not kept. */
  noted(name: string): boolean;
  /** Outlives the process, and nothing else. `name`: letters and digits. */
  note(name: string): void;
  takeBack(name: string): void;
};

export type Clock = {
  /** Milliseconds since an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** The same with the time that the machine was suspended. */
  bootMs(): number;
  /** Milliseconds since 1970, as the machine believes. For records that people read, never for ordering. */
  wallMs(): number;
};

export type Random = {
  /** A uniform integer in [0, bound), 1 <= bound <= 2^32. */
  below(bound: number): number;
  /** Fresh unpredictable bytes that the caller owns. */
  bytes(length: number): Uint8Array;
};

/** What a drive is opened as. */
export type OpenFileOptions = {
  /** Make the file; refuse (EEXIST) if it is there. */
  readonly create?: boolean;
  readonly readOnly?: boolean;
  /** O_DIRECT. Refused with EINVAL by file systems that lack it. */
  readonly direct?: boolean;
  /**
   * flock(LOCK_EX | LOCK_NB) on a file, O_EXCL on a block device: freed only when the last in-flight request of a dead
   * process has ended (drive-store.md, H5). EWOULDBLOCK / EBUSY when another holds it.
   */
  readonly exclusive?: boolean;
};

export type OpenFile = {
  readonly fd: number;
  readonly kind: 'file' | 'block';
  readonly sizeBytes: number;
  /** Alignment that direct I/O needs: 512 or 4096. */
  readonly sectorBytes: number;
};

/** `fd` is for `io.accept`; `port` is the one that the system chose, where 0 was asked for. */
export type TcpListener = { readonly fd: number; readonly port: number };

export type DataRange = { readonly fromBytes: number; readonly toBytes: number };

/** Cold file calls. Each rejects with an {@link import('../model/errno.ts').ErrnoError}. */
export type Files = {
  open(path: string, options: OpenFileOptions): Promise<OpenFile>;
  /** Sets the size of a regular file and, unless `sparse`, reserves its space (fallocate). ENOSPC leaves it as it was. */
  allocate(
    fd: number,
    options: { readonly sizeBytes: number; readonly sparse: boolean },
  ): Promise<void>;
  sizeBytes(fd: number): Promise<number>;
  /** The first range of a regular file, at or after `fromBytes`, that is no hole; undefined: only holes follow. It may hold zeros all the same. */
  nextData(fd: number, fromBytes: number): Promise<DataRange | undefined>;
  /** Closes a file that has nothing in flight. Sockets and files with operations in flight go through `io.close`. */
  close(fd: number): Promise<void>;
  /** Listens on a unix socket, replacing a stale one; mode 0600. The descriptor is for `io.accept`. */
  listen(path: string): Promise<number>;
  /** Listens at `address`; its connections have TCP_NODELAY. EINVAL: it is none. */
  listenTcp(address: TcpAddress): Promise<TcpListener>;
  remove(path: string): Promise<void>;
};
