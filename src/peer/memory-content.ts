/** A replica's content for tests of its connections. */

import { assert } from '../lib/assert.ts';
import type { Arena } from '../lib/arena.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import type { Mark, Request, SurveyEntry } from '../replication/messages.ts';
import type { ReplicaContent, ReplicaState } from '../replication/replica.ts';

/** A replica's bytes in memory. Work ends when {@link step} is called, or when `held` is let go. */
export class MemoryContent implements ReplicaContent {
  readonly life = 1;
  readonly state: ReplicaState = { seen: undefined, base: undefined };
  readonly bytes: Uint8Array;
  readonly #arena: Arena;
  readonly #onDone: (token: number, errno: number) => void;
  held: (() => void)[] | undefined;
  readonly #ready: (() => void)[] = [];

  constructor(sizeBytes: number, arena: Arena, onDone: (token: number, errno: number) => void) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#arena = arena;
    this.#onDone = onDone;
  }

  read(token: number, { offsetBytes, lengthBytes, address }: Request): void {
    this.#work(token, () =>
      this.#arena.u8.set(this.bytes.subarray(offsetBytes, offsetBytes + lengthBytes), address),
    );
  }

  change(token: number, { kind, offsetBytes, lengthBytes, address }: Request): void {
    assert(address % BLOCK_BYTES === offsetBytes % BLOCK_BYTES, 'the drive wants this alignment');
    const end = offsetBytes + lengthBytes;
    this.#work(token, () => {
      if (kind !== 'write' && kind !== 'copy') this.bytes.fill(0, offsetBytes, end);
      else this.bytes.set(this.#arena.u8.subarray(address, address + lengthBytes), offsetBytes);
    });
  }

  flush(token: number): void {
    this.#work(token);
  }

  keep(token: number): void {
    this.#work(token);
  }

  stamp(token: number): void {
    this.#work(token);
  }

  dropMarks(): void {}

  marks(): readonly Mark[] {
    return [{ extent: 3, mask: 5 }];
  }

  digest(token: number, extent: number, onDigest: Parameters<ReplicaContent['digest']>[2]): void {
    this.#work(token, () => onDigest({ words: [extent, 1, 2, 3], dataMask: 7, stamp: 9 }));
  }

  survey(extent: number): readonly SurveyEntry[] {
    return [{ extent, stamp: 2, dataMask: 1 }];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const step of held) step();
  }

  #work(token: number, effect?: () => void): void {
    const step = (): void => {
      effect?.();
      this.#onDone(token, 0);
    };
    (this.held ?? this.#ready).push(step);
  }

  step(): void {
    for (const step of this.#ready.splice(0)) step();
  }
}
