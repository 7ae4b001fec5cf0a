/**
 * What is in flight on each descriptor, and which descriptors are being closed: a descriptor's number is given back to
 * the kernel only when nothing that names it is left, so that no operation can land on its successor.
 */

/** No tag: there is no port 255. */
export const NONE = -1;
const COUNT_INITIAL = 1024;

export class Descriptors {
  #inFlight = new Int32Array(COUNT_INITIAL);
  /** The tag that the close completes with, by descriptor being closed. */
  readonly #closing = new Map<number, number>();

  /** Counts one operation in. False if `fd` cannot take one: it is no descriptor, or is being closed. */
  admit(fd: number): boolean {
    if (fd >= this.#inFlight.length) this.#grow(fd);
    if (fd < 0 || (this.#closing.size > 0 && this.#closing.has(fd))) return false;
    this.#inFlight[fd]! += 1;
    return true;
  }

  /** Counts one operation out. Returns the tag of the close that may now go on, or -1. */
  release(fd: number): number {
    const left = this.#inFlight[fd]! - 1;
    this.#inFlight[fd] = left;
    if (left > 0 || this.#closing.size === 0) return NONE;
    return this.#closing.get(fd) ?? NONE;
  }

  isClosing(fd: number): boolean {
    return this.#closing.size > 0 && this.#closing.has(fd);
  }

  /** Refuses further operations on `fd` and returns how many are in flight, or -1 if it is being closed already. */
  startClose(fd: number, tag: number): number {
    if (this.#closing.has(fd) || fd < 0) return NONE;
    this.#closing.set(fd, tag);
    return this.#inFlight[fd] ?? 0;
  }

  endClose(fd: number): void {
    this.#closing.delete(fd);
  }

  #grow(fd: number): void {
    const grown = new Int32Array(Math.max(fd + 1, 2 * this.#inFlight.length));
    grown.set(this.#inFlight);
    this.#inFlight = grown;
  }
}
