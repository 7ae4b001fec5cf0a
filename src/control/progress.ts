/**
 * The operations that this process drives, and how far they are. Kept in memory alone: the store would take a flush for each step of
 * each bar, beside those that users wait for, and after a crash what is wanted is settled anew, so that nothing is lost with it.
 */

import type { OperationRecord } from '../model/records.ts';
import { formatSize } from '../model/sizes.ts';

export type Amount = {
  readonly done: number;
  readonly total: number;
  readonly unit: 'bytes' | 'percent' | 'volumes' | 'replicas';
};

export type Progress = {
  /** What is being done, to follow the name of the target: `checking its ext4`. */
  readonly phase: string;
  /** How much of it; undefined where nobody can tell. */
  readonly amount: Amount | undefined;
};

/** An amount as people read it. */
export function amountInWords({
  done,
  total,
  unit,
}: Omit<Amount, 'unit'> & { readonly unit: string }): string {
  const percent = `${Math.floor((100 * done) / total)} %`;
  if (unit === 'bytes') return `${percent} of ${formatSize(total)}`;
  return unit === 'percent' ? percent : `${done} of ${total} ${unit}`;
}

/** The key of the record that is being changed, such as `volume/db`: one change at a time is under way for each. */
type Target = string;
type OnProgress = (operation: OperationRecord, progress: Progress) => void;

/** Those who watch hear of each target so often at most. */
const TELL_EVERY_MS = 1000;

/** What is under way here, and how far it is. */
export class ProgressBoard {
  readonly #operations = new Map<string, OperationRecord>();
  readonly #progress = new Map<Target, Progress>();
  /** Targets of which watchers heard within the last second. */
  readonly #told = new Set<Target>();
  readonly #watchers = new Set<OnProgress>();

  /** From now on this process drives the operation. */
  begin(operation: OperationRecord): void {
    this.#operations.set(operation.id, operation);
  }

  /** It has come to its end, or is left to the reconciler. */
  end(operation: OperationRecord): void {
    this.#operations.delete(operation.id);
    this.clear(operation.target);
  }

  /** Whether this process drives it: others that run were begun by one that died. */
  isUnderWay(id: string): boolean {
    return this.#operations.has(id);
  }

  of(target: Target): Progress | undefined {
    return this.#progress.get(target);
  }

  /** What is done of which target, as it was shown last; undefined: nothing is. */
  newest(): { readonly target: Target; readonly progress: Progress } | undefined {
    const [target, progress] = [...this.#progress].at(-1) ?? [];
    return target === undefined || progress === undefined ? undefined : { target, progress };
  }

  /** Says what is being done now. As often as it comes: watchers hear of the newest once a second. */
  show(target: Target, phase: string, amount?: Amount): void {
    // The last one is the newest.
    this.#progress.delete(target);
    this.#progress.set(target, { phase, amount });
    if (!this.#told.has(target)) this.#tell(target);
  }

  #tell(target: Target): void {
    const progress = this.#progress.get(target);
    if (progress === undefined) return;
    this.#told.add(target);
    setTimeout(() => {
      this.#told.delete(target);
      if (this.#progress.get(target) !== progress) this.#tell(target);
    }, TELL_EVERY_MS).unref();
    for (const operation of this.#operations.values()) {
      if (operation.target !== target) continue;
      for (const watcher of this.#watchers) watcher(operation, progress);
    }
  }

  /** Nothing is being done any more. */
  clear(target: Target): void {
    this.#progress.delete(target);
  }

  /** Calls `onProgress` until the function that is returned is called. */
  watch(onProgress: OnProgress): () => void {
    this.#watchers.add(onProgress);
    return () => this.#watchers.delete(onProgress);
  }
}
