/**
 * Blocks that were trimmed by frames not yet durable. Their positions look free, but a power cut may bring the old content
 * back, so they must not be written directly (drive-store.md, H4b).
 */
export class SoftTrims {
  readonly #masks = new Map<number, { mask: number; lsn: number }>();

  add(cell: number, mask: number, lsn: number): void {
    const known = this.#masks.get(cell);
    if (known === undefined) this.#masks.set(cell, { mask, lsn });
    else {
      known.mask |= mask;
      known.lsn = lsn;
    }
  }

  /** The blocks of `cell` that were trimmed after `durableLsn`. */
  mask(cell: number, durableLsn: number): number {
    if (this.#masks.size === 0) return 0;
    const known = this.#masks.get(cell);
    if (known === undefined) return 0;
    if (known.lsn > durableLsn) return known.mask;
    this.#masks.delete(cell);
    return 0;
  }

  /** Forgets what is durable by now; called after each flush, costs what there is. */
  settle(durableLsn: number): void {
    if (this.#masks.size === 0) return;
    for (const [cell, { lsn }] of this.#masks) if (lsn <= durableLsn) this.#masks.delete(cell);
  }
}
