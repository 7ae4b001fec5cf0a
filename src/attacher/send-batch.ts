/** The segments of one vectored send, and how far it got. */

export class SendBatch {
  readonly segments: Uint32Array;
  #first = 0;
  #count = 0;

  constructor(segmentCountMax: number) {
    this.segments = new Uint32Array(2 * segmentCountMax);
  }

  /** First segment still to send. */
  get first(): number {
    return this.#first;
  }

  /** Segments still to send. */
  get count(): number {
    return this.#count - this.#first;
  }

  hasRoom(segmentCount: number): boolean {
    return 2 * (this.#count + segmentCount) <= this.segments.length;
  }

  clear(): void {
    this.#first = 0;
    this.#count = 0;
  }

  add(address: number, lengthBytes: number): void {
    this.segments[2 * this.#count] = address;
    this.segments[2 * this.#count + 1] = lengthBytes;
    this.#count += 1;
  }

  /** Takes `sentBytes` off the front. */
  advance(sentBytes: number): void {
    let left = sentBytes;
    while (left > 0) {
      const at = 2 * this.#first;
      const lengthBytes = this.segments[at + 1]!;
      if (left < lengthBytes) {
        this.segments[at]! += left;
        this.segments[at + 1]! -= left;
        return;
      }
      left -= lengthBytes;
      this.#first += 1;
    }
  }
}
