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
  readonly #ended: EndedHead[] = [];
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
   * The transactions that have no outcome yet, and the heads that ended since this was called last; waits until there is one. Each
   * transaction is told again until {@link onOutcome}, so that control may die with it.
   */
  async next(): Promise<{
    readonly transactions: readonly Transaction[];
    readonly ended: readonly EndedHead[];
  }> {
    if (this.#transactions.size === 0 && this.#ended.length === 0) {
      // A call before this one has nobody any more who would hear of it.
      this.#wake?.();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return { transactions: [...this.#transactions.values()], ended: this.#ended.splice(0) };
  }
}
