/**
 * Faults as data: which operation of the drive goes wrong, and how. A fault prints as JSON and pastes into a test.
 *
 * The atlas: what the store promises for each (docs/drive-format.md). `nothing-lost`: EIO for what was under way as it struck, for blocks
 * that a failed write found empty (unreadable.ts), and from a drive that stopped, until it is opened again. `detect`: right bytes or EIO,
 * or a drive that refuses to open; `outdated`: after it, content that the volume once had may come back, but never another volume's bytes.
 */

import { EIO, ENOSPC } from '../src/model/errno.ts';

export type FaultOperation = 'read' | 'write' | 'flush';

export type FaultEffect =
  /** The system call fails, and does nothing. */
  | { readonly kind: 'error'; readonly errno: number }
  /** The system call does only its first sectors, and says so. */
  | { readonly kind: 'short' }
  /** It takes this long. */
  | { readonly kind: 'slow'; readonly delayUs: number }
  /** The write is reported as done and never was. */
  | { readonly kind: 'lost' }
  /** The write goes elsewhere: so many bytes further on. */
  | { readonly kind: 'misdirected'; readonly byBytes: number }
  /** The write happens twice: the second time this much later. */
  | { readonly kind: 'repeated'; readonly delayUs: number }
  /** The flush is reported as done and makes nothing durable. */
  | { readonly kind: 'lie' };

export type Fault = {
  readonly on: FaultOperation;
  /** The nth matching operation from now, counted from 1. */
  readonly nth: number;
  /** Only operations that begin in [from, to); everywhere where it is missing. */
  readonly within?: { readonly fromBytes: number; readonly toBytes: number };
  readonly give: FaultEffect;
  /** More than {@link promised} says in general. */
  readonly promise?: Promised;
};

export type Promised = 'nothing-lost' | 'detect' | 'outdated';

/** What may be expected of the store after `fault`. */
export function promised(fault: Fault): Promised {
  if (fault.promise !== undefined) return fault.promise;
  switch (fault.give.kind) {
    case 'error':
    case 'short':
    case 'slow':
      return 'nothing-lost';
    // Found by checksum, unless power goes before the log says that the write was flushed: then it looks like one that was not.
    case 'lost':
    case 'misdirected':
    case 'repeated':
    case 'lie':
      return 'outdated';
  }
}

/** Counts the operations of one drive and says which fault, if any, befalls each. */
export class FaultPlan {
  #faults: { readonly fault: Fault; left: number }[] = [];
  /** Faults that struck, in order. */
  readonly struck: Fault[] = [];
  /** Called as a fault strikes. */
  onStrike: ((fault: Fault) => void) | undefined;

  get pendingCount(): number {
    return this.#faults.length;
  }

  add(fault: Fault): void {
    this.#faults.push({ fault, left: fault.nth });
  }

  clear(): void {
    this.#faults = [];
  }

  /** The effect for an operation that starts now; the fault is used up. */
  next(on: FaultOperation, positionBytes: number): FaultEffect | undefined {
    if (this.#faults.length === 0) return undefined;
    for (const entry of this.#faults) {
      const { fault } = entry;
      if (fault.on !== on) continue;
      const { within } = fault;
      if (within && (positionBytes < within.fromBytes || positionBytes >= within.toBytes)) continue;
      entry.left--;
      if (entry.left > 0) continue;
      this.#faults = this.#faults.filter((other) => other !== entry);
      this.struck.push(fault);
      this.onStrike?.(fault);
      return fault.give;
    }
    return undefined;
  }
}

export const READ_ERROR: FaultEffect = { kind: 'error', errno: EIO };
export const NO_SPACE: FaultEffect = { kind: 'error', errno: ENOSPC };
