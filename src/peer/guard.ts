/**
 * What proves a frame: a checksum, or the tag of AES-256-GCM. One guard for each direction of a connection; it counts the frames, so
 * that one which is repeated, left out or moved fails as a changed one does (docs/peer-protocol.md, "Keys" and "Frame").
 */

import type { Aead, Cipher } from '../env/aead.ts';
import type { Arena } from '../lib/arena.ts';
import type { Checksum } from '../lib/checksum.ts';
import { PROOF_AT, PROOF_BYTES, SEALED_AT } from './frame.ts';

/** 2^32 blocks of AES: beyond it a key tells more about what it encrypts than one in 2^64. */
const KEY_BYTES_MAX: number = 2 ** 36;

export type Guard = {
  /** Writes the proof of the frame at `address`, whose proof is zero, and encrypts it in place where it is sealed. */
  protect(address: number, frameBytes: number): void;
  /** Checks the next frame, decrypts it in place, and empties its proof. False: nothing of it may be looked at. */
  verify(address: number, frameBytes: number): boolean;
  /** The key has done its work: the sender sends `rekey` and calls {@link Guard.renew}. Never without keys. */
  readonly isSpent: boolean;
  /** Takes the next key, made of the present one. False: there are no keys here. */
  renew(): boolean;
  /** Forgets the key. */
  close(): void;
};

/** Frames in clear, against accidents. */
export class ClearGuard implements Guard {
  readonly isSpent = false;
  readonly #view: DataView;
  readonly #checksum: Checksum;
  #seedLow: number;
  #seedHigh: number;

  constructor(
    arena: Arena,
    checksum: Checksum,
    seed: { readonly low: number; readonly high: number },
  ) {
    this.#view = arena.view;
    this.#checksum = checksum;
    this.#seedLow = seed.low;
    this.#seedHigh = seed.high;
  }

  protect(address: number, frameBytes: number): void {
    this.#view.setInt32(address + PROOF_AT, this.#sum(address, frameBytes), true);
  }

  verify(address: number, frameBytes: number): boolean {
    const at = address + PROOF_AT;
    const given = this.#view.getInt32(at, true);
    this.#view.setInt32(at, 0);
    for (let rest = 4; rest < PROOF_BYTES; rest += 4) {
      if (this.#view.getInt32(at + rest, true) !== 0) return false;
    }
    return this.#sum(address, frameBytes) === given;
  }

  renew(): boolean {
    return false;
  }

  close(): void {}

  #sum(address: number, frameBytes: number): number {
    const sum = this.#checksum(address, frameBytes, this.#seedLow, this.#seedHigh);
    this.#seedLow = (this.#seedLow + 1) >>> 0;
    if (this.#seedLow === 0) this.#seedHigh = (this.#seedHigh + 1) >>> 0;
    return sum;
  }
}

/** Sealed frames. */
export class SealedGuard implements Guard {
  readonly #bytes: Uint8Array;
  readonly #cipher: Cipher;
  #secret: Uint8Array;
  #aead: Aead;
  /** Of the next frame under the present key. */
  #number = 0;
  /** Sealed or opened under the present key. */
  #doneBytes = 0;

  /** `secret` has 32 bytes and is the guard's, which overwrites it. */
  constructor(arena: Arena, cipher: Cipher, secret: Uint8Array) {
    this.#bytes = arena.u8;
    this.#cipher = cipher;
    this.#secret = secret;
    this.#aead = this.#keyed();
  }

  get isSpent(): boolean {
    return this.#doneBytes >= KEY_BYTES_MAX;
  }

  protect(address: number, frameBytes: number): void {
    const [tag, sealed] = [address + PROOF_AT, address + SEALED_AT];
    this.#aead.seal(this.#number, address, tag, sealed, frameBytes - SEALED_AT);
    this.#count(frameBytes);
  }

  verify(address: number, frameBytes: number): boolean {
    const [tag, sealed] = [address + PROOF_AT, address + SEALED_AT];
    const isRight = this.#aead.open(this.#number, address, tag, sealed, frameBytes - SEALED_AT);
    this.#bytes.fill(0, tag, tag + PROOF_BYTES);
    this.#count(frameBytes);
    return isRight;
  }

  renew(): boolean {
    const next = this.#cipher.hmac(this.#secret, 'next');
    this.close();
    this.#secret = next;
    this.#aead = this.#keyed();
    this.#number = 0;
    this.#doneBytes = 0;
    return true;
  }

  close(): void {
    this.#aead.close();
    this.#secret.fill(0);
  }

  #keyed(): Aead {
    const key = this.#cipher.hmac(this.#secret, 'key');
    const aead = this.#cipher.aead(key);
    key.fill(0);
    return aead;
  }

  #count(frameBytes: number): void {
    this.#number += 1;
    this.#doneBytes += frameBytes;
  }
}
