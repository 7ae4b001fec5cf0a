/**
 * What a frontend (NBD) drives: one attached volume. The store implements it. Calls return at once; each ends in one
 * `onDone(token, errno)`, errno 0 or positive, never inside the call itself.
 */

/** Bytes in a block: the unit of checksums and of alignment on the drive. */
export const BLOCK_BYTES = 4096;

export type OnDone = (token: number, errno: number) => void;

/**
 * For a target that gave up who was to read: other memory for that read, since what it has may still be written to. Returns its address,
 * which is the read's from then on; 0: there is none now.
 */
export type Renew = (token: number) => number;

export type BlockTarget = {
  /** Changes on resize. Whole blocks. */
  readonly sizeBytes: number;
  /**
   * Requests that may be in flight at once through this target; the frontend queues the rest. One request covers at
   * most {@link REQUEST_BYTES_MAX}.
   */
  readonly requestCountMax: number;
  /**
   * Reads whole blocks to `address` (a multiple of BLOCK_BYTES). Blocks without data read as zeros. EIO: the content of
   * the buffer is undefined.
   */
  read(token: number, firstBlock: number, blockCount: number, address: number): void;
  /**
   * Writes `lengthBytes` at `offsetBytes`, any alignment. The bytes lie at `address`, where
   * `address % BLOCK_BYTES === offsetBytes % BLOCK_BYTES`; the store may use (and change) the rest of the first and last block
   * of that memory. The memory belongs to the store until onDone. Done means: SIGKILL cannot lose it; with `fua`: power loss cannot.
   */
  write(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    address: number,
    fua: boolean,
  ): void;
  /**
   * Makes a range read as zeros, any alignment and any length up to the volume. With `allocate`, space for the range is kept or
   * reserved (NBD's NO_HOLE), so that later writes to it do not end in ENOSPC.
   */
  zero(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    options: { readonly allocate: boolean; readonly fua: boolean },
  ): void;
  /** Frees the whole blocks inside the range, any length; they then read as zeros. */
  trim(token: number, offsetBytes: number, lengthBytes: number, fua: boolean): void;
  /** Done means: all that was done before this call, by anyone, is on media. */
  flush(token: number): void;
  /**
   * Fills `runs` with (blockCount, hasData 0|1) pairs that describe [firstBlock, firstBlock + blockCount) and returns the
   * number of pairs; stops early when `runs` is full.
   */
  status(firstBlock: number, blockCount: number, runs: Uint32Array): number;
};

/** Bytes of one `read` or `write`. Frontends split larger requests. 256 KiB = 4 extents, 5 when unaligned. */
export const REQUEST_BYTES_MAX = 256 * 1024;
