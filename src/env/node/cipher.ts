/** The best maker of {@link Aead} that this Node allows: OpenSSL's EVP where it is to be had, node:crypto elsewhere. */

import crypto from 'node:crypto';

import { assert } from '../../lib/assert.ts';
import {
  type Aead,
  type Cipher,
  AEAD_CLEAR_BYTES,
  AEAD_KEY_BYTES,
  AEAD_TAG_BYTES,
} from '../aead.ts';
import { openEvp } from './evp.ts';

const NONCE_BYTES = 12;
/** A nonce with bits in both words of the number. */
const TRIAL_NUMBER: number = 2 ** 33 + 5;
const TRIAL_BYTES = 100;

export type CipherOptions = {
  /** `auto` takes EVP where it works; the others insist. */
  readonly by: 'auto' | 'evp' | 'node';
};

/** Opens a cipher over an arena, of which it writes nothing. Throws only for `evp` where that is missing or wrong. */
export function openCipher(memory: WebAssembly.Memory, { by }: CipherOptions): Cipher {
  if (by === 'node') return nodeCipher(memory);
  try {
    check();
    return { kind: 'evp', aead: openEvp(memory), hmac };
  } catch (error) {
    if (by === 'evp') throw error;
    return nodeCipher(memory);
  }
}

function nodeCipher(memory: WebAssembly.Memory): Cipher {
  return { kind: 'node', aead: (key) => new NodeAead(new Uint8Array(memory.buffer), key), hmac };
}

function hmac(secret: Uint8Array, text: string): Uint8Array {
  return new Uint8Array(crypto.createHmac('sha256', secret).update(text).digest());
}

/** Both makers give the same bytes, each opens the other's, and neither what was changed. A wrong signature shows here, in memory of its own. */
function check(): void {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const bytes = new Uint8Array(memory.buffer);
  const key = new Uint8Array(AEAD_KEY_BYTES).map((_, index) => index * 7);
  const evp = openEvp(memory)(key);
  const node = new NodeAead(bytes, key);
  const fill = (): void =>
    void bytes
      .fill(0)
      .subarray(64, 64 + TRIAL_BYTES)
      .fill(9);
  fill();
  node.seal(TRIAL_NUMBER, 0, 16, 64, TRIAL_BYTES);
  const expected = bytes.slice();
  fill();
  evp.seal(TRIAL_NUMBER, 0, 16, 64, TRIAL_BYTES);
  const isEqual = bytes.every((byte, index) => byte === expected[index]);
  const opens = evp.open(TRIAL_NUMBER, 0, 16, 64, TRIAL_BYTES) && bytes[64] === 9;
  bytes.set(expected);
  bytes[0] = 1;
  const opensChanged = evp.open(TRIAL_NUMBER, 0, 16, 64, TRIAL_BYTES);
  evp.close();
  assert(isEqual && opens && !opensChanged, "OpenSSL's EVP seals as node:crypto does");
}

class NodeAead implements Aead {
  readonly #bytes: Uint8Array;
  readonly #key: crypto.KeyObject;
  readonly #nonce = new Uint8Array(NONCE_BYTES);
  readonly #nonceView = new DataView(this.#nonce.buffer);

  constructor(bytes: Uint8Array, key: Uint8Array) {
    this.#bytes = bytes;
    // A raw key costs 40 µs more for each frame.
    this.#key = crypto.createSecretKey(key);
  }

  seal(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): void {
    const cipher = crypto.createCipheriv('aes-256-gcm', this.#key, this.#nonceOf(number));
    cipher.setAAD(this.#view(clearAddress, AEAD_CLEAR_BYTES));
    this.#bytes.set(cipher.update(this.#view(address, lengthBytes)), address);
    cipher.final();
    this.#bytes.set(cipher.getAuthTag(), tagAddress);
  }

  open(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): boolean {
    const decipher = crypto.createDecipheriv('aes-256-gcm', this.#key, this.#nonceOf(number), {
      authTagLength: AEAD_TAG_BYTES,
    });
    decipher.setAAD(this.#view(clearAddress, AEAD_CLEAR_BYTES));
    decipher.setAuthTag(this.#view(tagAddress, AEAD_TAG_BYTES));
    this.#bytes.set(decipher.update(this.#view(address, lengthBytes)), address);
    try {
      decipher.final();
      return true;
    } catch {
      return false;
    }
  }

  /** The key object is the collector's. */
  close(): void {}

  #nonceOf(number: number): Uint8Array {
    this.#nonceView.setBigUint64(4, BigInt(number), true);
    return this.#nonce;
  }

  #view(address: number, lengthBytes: number): Uint8Array {
    return this.#bytes.subarray(address, address + lengthBytes);
  }
}
