/** A replica as a client drives it: each change has the number that the model gave it. */

import type { BlockTarget } from '../src/model/block-target.ts';
import type { MarkedChange, ReplicaVolume } from '../src/store/replica-volume.ts';
import type { ReplicaModel } from './replica-model.ts';

export class MarkingTarget implements BlockTarget {
  readonly requestCountMax: number = 128;
  readonly #replica: ReplicaVolume;
  readonly #model: ReplicaModel;

  constructor(replica: ReplicaVolume, model: ReplicaModel) {
    this.#replica = replica;
    this.#model = model;
  }

  get sizeBytes(): number {
    return this.#replica.sizeBytes;
  }

  #change(fua: boolean): MarkedChange {
    const { epoch, number } = this.#model;
    return { epoch, number, stamp: epoch, fua };
  }

  read(token: number, firstBlock: number, blockCount: number, address: number): void {
    this.#replica.read(token, firstBlock, blockCount, address);
  }

  write(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    address: number,
    fua: boolean,
  ): void {
    this.#replica.write(token, { offsetBytes, lengthBytes }, address, this.#change(fua));
  }

  zero(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    options: { readonly allocate: boolean; readonly fua: boolean },
  ): void {
    const change = { ...this.#change(options.fua), allocate: options.allocate };
    this.#replica.zero(token, { offsetBytes, lengthBytes }, change);
  }

  trim(token: number, offsetBytes: number, lengthBytes: number, fua: boolean): void {
    this.#replica.trim(token, { offsetBytes, lengthBytes }, this.#change(fua));
  }

  flush(token: number): void {
    this.#replica.flush(token);
  }

  status(): number {
    throw new Error('a replica is surveyed');
  }
}
