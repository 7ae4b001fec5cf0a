/** The data path of one volume under a loop device: its FUSE file and its NBD client, in one berth. */

import type { Berth, BerthOwner } from './berths.ts';
import type { ClientState } from './client-state.ts';
import { FUSE_ARENA_BYTES, FUSE_INDEX_COUNT, FuseFile, SLOT_COUNT } from './fuse-file.ts';
import { NbdClient, nbdArenaBytes } from './nbd-client.ts';

const PAGE_BYTES = 4096;

/** Arena of one volume, whole pages. Untouched pages cost nothing. */
export const FUSE_VOLUME_BYTES: number =
  FUSE_ARENA_BYTES + Math.ceil(nbdArenaBytes(SLOT_COUNT) / PAGE_BYTES) * PAGE_BYTES;

export type FuseVolumeOptions = {
  readonly socketPath: string;
  readonly exportName: string;
  readonly sizeBytes: number;
  readonly onState: (state: ClientState) => void;
};

export class FuseVolume implements BerthOwner {
  readonly client: NbdClient;
  readonly #berth: Berth;
  readonly #file: FuseFile;
  #onFileEnded: (() => void) | undefined;
  #fileEnded = false;
  #givenUp: Promise<void> | undefined;

  /** `fd` is /dev/fuse, mounted. It stays the caller's, to be closed after {@link FuseVolume.ended}. */
  constructor(berth: Berth, options: FuseVolumeOptions & { readonly fd: number }) {
    const { sizeBytes, fd } = options;
    this.#berth = berth;
    this.#file = new FuseFile({
      berth,
      address: berth.address,
      fd,
      sizeBytes,
      onEnded: () => {
        this.#fileEnded = true;
        this.#onFileEnded?.();
        // Who awaits it runs only when the runtime gets control.
        berth.io.yieldTurn();
      },
    });
    this.client = new NbdClient({
      berth,
      firstIndex: FUSE_INDEX_COUNT,
      address: berth.address + FUSE_ARENA_BYTES,
      slotCount: SLOT_COUNT,
      socketPath: options.socketPath,
      exportName: options.exportName,
      sizeBytes,
      onDone: (slot, errno) => this.#file.onDone(slot, errno),
      onState: options.onState,
    });
  }

  start(): void {
    this.connect();
    this.serve();
  }

  /** Connects to the engine, and takes no request yet. */
  connect(): void {
    this.client.start();
  }

  /** Takes requests, also again after a pause. */
  serve(): void {
    this.#file.start(this.client);
  }

  /** Takes no more requests. Resolves when those that were taken are answered. */
  pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#file.pause(() => {
        resolve();
        this.#berth.io.yieldTurn();
      });
    });
  }

  resize(sizeBytes: number): void {
    this.client.resize(sizeBytes);
    this.#file.resize(sizeBytes);
  }

  /** Fails what is unanswered and all to come. Resolves when the client has nothing in flight. */
  giveUp(problem: string): Promise<void> {
    this.#givenUp ??= new Promise((resolve) => {
      this.client.giveUp(problem, () => {
        resolve();
        this.#berth.io.yieldTurn();
      });
    });
    return this.#givenUp;
  }

  /** Resolves when the kernel has let the file go: nothing of it is in flight then. */
  ended(): Promise<void> {
    if (this.#fileEnded) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onFileEnded = resolve;
    });
  }

  onCompletion(index: number, result: number): void {
    if (index < FUSE_INDEX_COUNT) this.#file.onCompletion(index, result);
    else this.client.onCompletion(index - FUSE_INDEX_COUNT, result);
  }

  onTurnEnd(): void {
    this.client.onTurnEnd();
  }
}
