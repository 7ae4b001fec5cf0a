/**
 * Keeps overlapping requests in the order of their calls where the gate alone cannot: a long request is cut into pieces bit by
 * bit, and its part that is not cut yet is not at the gate. Who overlaps such a part waits here until it is cut
 * (design.md, 3.1: overlapping changes take effect in the order in which they came; reads wait for changes).
 */

import type { Request } from './piece.ts';

export class RequestOrder {
  /** Requests with a part that is not cut yet. Rare: longer than 24 extents, or no piece was free. */
  #uncut: Request[] = [];
  /** In order of arrival. */
  #held: Request[] = [];

  /** Whether `request` must wait; then {@link take} gives it out in its turn. */
  holds(request: Request): boolean {
    if (this.#uncut.length === 0 && this.#held.length === 0) return false;
    if (!blocked(request, this.#uncut) && !blocked(request, this.#held)) return false;
    this.#held.push(request);
    return true;
  }

  /** To be called when pieces were cut off `request`, or it was given up. Returns whether held requests may go on. */
  cut(request: Request): boolean {
    if (request.cursor < request.end) {
      if (!this.#uncut.includes(request)) this.#uncut.push(request);
      return false;
    }
    if (this.#uncut.length === 0 || !this.#uncut.includes(request)) return false;
    this.#uncut = this.#uncut.filter((other) => other !== request);
    return this.#held.length > 0;
  }

  /** The first held request that nothing before it blocks, or undefined. */
  take(): Request | undefined {
    const index = this.#held.findIndex(
      (request, at) => !blocked(request, this.#uncut) && !blocked(request, this.#held.slice(0, at)),
    );
    return index < 0 ? undefined : this.#held.splice(index, 1)[0];
  }
}

function blocked(request: Request, earlier: readonly Request[]): boolean {
  return earlier.some(
    (other) =>
      other.cursor < request.end &&
      request.offset < other.end &&
      (other.kind !== 'read' || request.kind !== 'read') &&
      other.client?.volume === request.client?.volume,
  );
}
