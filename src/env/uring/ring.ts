/**
 * One io_uring: its two rings and its entries, mapped into typed arrays, and the system call that moves them.
 * Knows nothing of operations. Layouts are those of <linux/io_uring.h>, in 32-bit words, little-endian.
 *
 *   submission entry, 64 bytes            completion entry, 16 bytes
 *   word 0  opcode u8, flags u8, prio u16   word 0, 1  user data
 *        1  fd                                   2     result
 *        2,3  offset                             3     flags
 *        4,5  address
 *        6  length
 *        7  operation flags
 *        8,9  user data
 *        10-15  zero
 */

import { assert } from '../../lib/assert.ts';
import { EAGAIN, EBUSY, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM } from '../../model/errno.ts';
import { ENTER, type Syscalls } from './syscalls.ts';

const SETUP_CQSIZE = 1 << 3;
const SETUP_CLAMP = 1 << 4;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_COOP_TASKRUN = 1 << 8;
const SETUP_TASKRUN_FLAG = 1 << 9;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;

const BASE_FLAGS = SETUP_CQSIZE | SETUP_CLAMP;

/**
 * Set-up flags, best first; a kernel that does not know one answers EINVAL and gets the next. Linux 6.1 takes the
 * first, 5.19 the second, 5.18 the third, 5.15 the last.
 */
export const FLAG_SETS: readonly number[] = [
  BASE_FLAGS | SETUP_SUBMIT_ALL | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN,
  BASE_FLAGS | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG,
  BASE_FLAGS | SETUP_SUBMIT_ALL,
  BASE_FLAGS,
];

const FEATURE_SINGLE_MMAP = 1 << 0;
/** The kernel keeps completions that do not fit in the ring and hands them over later: none is ever lost. */
const FEATURE_NODROP = 1 << 1;
/** Everything an entry points at has been copied when the entry has been consumed. */
const FEATURE_SUBMIT_STABLE = 1 << 2;
/** Sockets that are not ready are polled, not given a kernel thread each. */
const FEATURE_FAST_POLL = 1 << 5;
const FEATURES_NEEDED =
  FEATURE_SINGLE_MMAP | FEATURE_NODROP | FEATURE_SUBMIT_STABLE | FEATURE_FAST_POLL;

const ENTER_GETEVENTS = 1;
const REGISTER_PROBE = 8;
const PROBE_SUPPORTED = 1;
const OFFSET_ENTRIES = 0x1000_0000;
const SQ_CQ_OVERFLOW = 1 << 1;

const PARAMS_BYTES = 120;
const SQ_OFFSETS = 40 / 4;
const CQ_OFFSETS = 80 / 4;
const SQE_BYTES = 64;
const CQE_BYTES = 16;
const OPCODE_COUNT_MAX = 256;
const PROBE_BYTES = 16 + 8 * OPCODE_COUNT_MAX;

export type RingOptions = {
  /** Submission entries, a power of two: what can be queued between two system calls. */
  readonly entries: number;
  /** Completion entries, a power of two. More in flight is safe ({@link FEATURE_NODROP}) and slower. */
  readonly completionEntries: number;
  /** One of {@link FLAG_SETS}, for measuring; otherwise the first that the kernel takes. */
  readonly flags?: number;
};

/** The kernel refuses io_uring, or has one that is too old. `reason` is for people. */
export class RingRefused extends Error {
  override name = 'RingRefused';
}

export class Ring {
  readonly fd: number;
  readonly flags: number;
  readonly entries: number;
  /** Submission entries as words: entry i starts at word 16 i. */
  readonly sqe: Uint32Array;

  readonly #system: Syscalls;
  readonly #words: Int32Array;
  readonly #sqHeadAt: number;
  readonly #sqTailAt: number;
  readonly #sqFlagsAt: number;
  readonly #sqMask: number;
  readonly #cqHeadAt: number;
  readonly #cqTailAt: number;
  readonly #cqMask: number;
  readonly #cqesAt: number;
  /** Entries written by us, consumed by the kernel, and completions taken by us: free-running 32-bit counters. */
  #sqTail = 0;
  #sqHead = 0;
  #cqHead = 0;

  /** Sets a ring up. Throws {@link RingRefused}. */
  constructor(system: Syscalls, options: RingOptions) {
    this.#system = system;
    const made = setUp(system, options);
    this.fd = made.fd;
    this.flags = made.params[2]!;
    const params = made.params;
    this.entries = params[0]!;
    const missing = FEATURES_NEEDED & ~params[5]!;
    if (missing !== 0) {
      system.close(this.fd);
      throw new RingRefused(`the kernel's io_uring lacks features 0x${missing.toString(16)}`);
    }

    const arrayAt = params[SQ_OFFSETS + 6]!;
    const cqesAt = params[CQ_OFFSETS + 5]!;
    const ringBytes = Math.max(arrayAt + this.entries * 4, cqesAt + params[1]! * CQE_BYTES);
    this.#words = new Int32Array(system.mapRing(this.fd, (ringBytes + 3) & ~3, 0).buffer);
    const entryBytes = this.entries * SQE_BYTES;
    this.sqe = new Uint32Array(system.mapRing(this.fd, entryBytes, OFFSET_ENTRIES).buffer);

    this.#sqHeadAt = params[SQ_OFFSETS]! >> 2;
    this.#sqTailAt = params[SQ_OFFSETS + 1]! >> 2;
    this.#sqMask = this.#words[params[SQ_OFFSETS + 2]! >> 2]!;
    this.#sqFlagsAt = params[SQ_OFFSETS + 4]! >> 2;
    this.#cqHeadAt = params[CQ_OFFSETS]! >> 2;
    this.#cqTailAt = params[CQ_OFFSETS + 1]! >> 2;
    this.#cqMask = this.#words[params[CQ_OFFSETS + 2]! >> 2]!;
    this.#cqesAt = cqesAt >> 2;
    // A wrong offset would most likely break one of these two before anything is trusted to the ring.
    if (this.#sqMask !== this.entries - 1 || this.#cqMask !== params[1]! - 1) {
      system.close(this.fd);
      throw new RingRefused('the ring masks do not match the entry counts: wrong layout');
    }
    // Entry i of the index array always names entry i: entries are used strictly in turn.
    for (let i = 0; i < this.entries; i += 1) this.#words[(arrayAt >> 2) + i] = i;
  }

  /** Entries written and not yet consumed by the kernel. */
  get pending(): number {
    return (this.#sqTail - this.#sqHead) | 0;
  }

  /** Completions in the ring and not yet taken. */
  get ready(): number {
    return (Atomics.load(this.#words, this.#cqTailAt) - this.#cqHead) | 0;
  }

  /** True while the kernel holds completions that did not fit. The next {@link enter} brings them. */
  get overflowed(): boolean {
    return (Atomics.load(this.#words, this.#sqFlagsAt) & SQ_CQ_OVERFLOW) !== 0;
  }

  /** Takes the next free entry and returns its first word's index in {@link sqe}. `pending < entries` must hold. */
  take(): number {
    const word = (this.#sqTail & this.#sqMask) << 4;
    this.#sqTail = (this.#sqTail + 1) | 0;
    return word;
  }

  /** First word's index of the entry taken last, or -1 if the kernel has it already. */
  newest(): number {
    return this.pending === 0 ? -1 : ((this.#sqTail - 1) & this.#sqMask) << 4;
  }

  /** Word index of the oldest completion, for {@link word}. `ready > 0` must hold. */
  peek(): number {
    return this.#cqesAt + ((this.#cqHead & this.#cqMask) << 2);
  }

  /** One word of the mapped rings. */
  word(at: number): number {
    return this.#words[at]!;
  }

  /** Passes over the oldest completion. The kernel hears of it at the next {@link enter}. */
  advance(): void {
    this.#cqHead = (this.#cqHead + 1) | 0;
  }

  /**
   * Hands over what was written and waits until `waitCount` completions are in the ring. `reap` also runs deferred
   * kernel work, without which nothing new appears. Returns 0, or EINTR, EAGAIN or EBUSY (then some entries may still be pending).
   * Any other errno is a bug of ours and throws.
   */
  enter(waitCount: number, reap: boolean): number {
    Atomics.store(this.#words, this.#cqHeadAt, this.#cqHead);
    Atomics.store(this.#words, this.#sqTailAt, this.#sqTail);
    const flags = reap ? ENTER_GETEVENTS : 0;
    const count = this.#system.enter(ENTER, this.fd, this.pending, waitCount, flags, 0, 0);
    const errno = count < 0 ? this.#system.errno() : 0;
    this.#sqHead = Atomics.load(this.#words, this.#sqHeadAt);
    if (errno === 0 || errno === EINTR || errno === EAGAIN || errno === EBUSY) return errno;
    assert(false, `io_uring_enter takes what we submit (errno ${errno})`);
  }

  /** Operation codes of `opcodes` that this kernel lacks. */
  missing(opcodes: readonly number[]): number[] {
    const probe = new ArrayBuffer(PROBE_BYTES);
    if (this.#system.register(this.fd, REGISTER_PROBE, probe, OPCODE_COUNT_MAX) < 0) {
      throw new RingRefused(
        `the kernel does not list its operations (errno ${this.#system.errno()})`,
      );
    }
    const words = new Uint16Array(probe);
    return opcodes.filter((opcode) => (words[(16 + 8 * opcode) / 2 + 1]! & PROBE_SUPPORTED) === 0);
  }
}

/** Creates the ring with the best flags the kernel takes, and returns its filled parameters as words. */
function setUp(system: Syscalls, options: RingOptions): { fd: number; params: Uint32Array } {
  for (const flags of options.flags === undefined ? FLAG_SETS : [options.flags]) {
    const params = new Uint32Array(PARAMS_BYTES / 4);
    params[1] = options.completionEntries;
    params[2] = flags;
    const fd = system.setup(options.entries, params.buffer);
    if (fd >= 0) return { fd, params };
    const errno = system.errno();
    if (errno !== EINVAL) throw new RingRefused(`io_uring_setup is refused: ${why(errno)}`);
  }
  throw new RingRefused('io_uring_setup knows none of our flags (EINVAL)');
}

function why(errno: number): string {
  switch (errno) {
    case EPERM:
      return 'EPERM, by the sysctl kernel.io_uring_disabled or the seccomp profile of a container';
    case ENOSYS:
      return 'ENOSYS, the kernel has no io_uring or a seccomp profile hides it';
    case ENOMEM:
      return 'ENOMEM, the limit of locked memory is too low for this kernel';
    default:
      return `errno ${errno}`;
  }
}
