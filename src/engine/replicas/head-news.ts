/** What control asks of heads, and what they tell it. */

import type { Io } from '../../env/io.ts';
import type { HeadEnd } from '../../replication/head-host.ts';
import type { HeadId, Record, ReplicaId } from '../../replication/record.ts';

/** A transaction that a head waits for. */
export type Transaction = {
  readonly volume: string;
  readonly expected: Record;
  readonly next: Record;
};

/** A head that ended by itself, for control to know of. */
export type EndedHead = {
  readonly volume: string;
  readonly attachId: string;
  readonly end: HeadEnd;
};

/** How a volume is to be served. */
export type HeadStart = {
  readonly volume: string;
  readonly attachId: string;
  /** As the store has it; its attachment is this one. */
  readonly record: Record;
  readonly head: HeadId;
  /** The replica beside the head: undefined where this engine has none. */
  readonly local: ReplicaId | undefined;
  readonly clientLives: boolean;
  /** The nodes of replicas. Of those that it does not name, and of this node's, the head expects that they are on a drive here. */
  readonly places: ReadonlyMap<ReplicaId, string>;
  /** A client whose requests stand still for so long has its session ended. */
  readonly stallLimitMs: number;
};

/** What heads want control to hear, until it has. */
export class HeadNews {
  readonly #io: Io;
  /** Asked for by heads and not answered, by writer. */
  readonly #transactions = new Map<string, Transaction>();
  /** Until nobody has to do anything about them. */
  readonly #ended: EndedHead[] = [];
  /** So many of them were told already. */
  #toldCount = 0;
  /** Waits for news. */
  #wake: (() => void) | undefined;

  constructor(io: Io) {
    this.#io = io;
  }

  transact(transaction: Transaction): void {
    this.#transactions.set(transaction.next.writer, transaction);
    this.wake();
  }

  onOutcome(writer: string): void {
    this.#transactions.delete(writer);
  }

  onEnd(ended: EndedHead): void {
    this.#ended.push(ended);
    this.wake();
  }

  /** Control has done what was to be done about a head that ended, or needs to do nothing. */
  forgetEnd(volume: string): void {
    const at = this.#ended.findIndex((each) => each.volume === volume);
    if (at < 0) return;
    this.#ended.splice(at, 1);
    if (at < this.#toldCount) this.#toldCount--;
  }

  /** Nobody waits for the transactions of this volume any more. */
  forget(volume: string): void {
    for (const [writer, asked] of this.#transactions) {
      if (asked.volume === volume) this.#transactions.delete(writer);
    }
  }

  /** Whoever waits has no more to wait for. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
    this.#io.yieldTurn();
  }

  /**
   * The transactions that have no outcome yet, and the heads that ended; waits until there is one that was not told. Each transaction is told
   * again until {@link onOutcome}. Heads are told once, and with `again` all that are not forgotten: control may die with what it was told.
   */
  async next(again: boolean): Promise<{
    readonly transactions: readonly Transaction[];
    readonly ended: readonly EndedHead[];
  }> {
    if (again) this.#toldCount = 0;
    if (this.#transactions.size === 0 && this.#ended.length === this.#toldCount) {
      // A call before this one has nobody any more who would hear of it.
      this.#wake?.();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const ended = this.#ended.slice(this.#toldCount);
    this.#toldCount = this.#ended.length;
    return { transactions: [...this.#transactions.values()], ended };
  }
}
