/**
 * AES-256-GCM by OpenSSL's EVP, which Node's program exports, with one context for each key: 2.7 µs for 4 KiB in place where
 * node:crypto makes a cipher for each call, 13 µs (docs/decisions/0013). Checked against node:crypto before its first use.
 */

import { assert } from '../../lib/assert.ts';
import { type Aead, AEAD_CLEAR_BYTES, AEAD_KEY_BYTES, AEAD_TAG_BYTES } from '../aead.ts';
import { openFfi } from '../ffi.ts';

// <openssl/evp.h>
const EVP_CTRL_AEAD_GET_TAG = 0x10;
const EVP_CTRL_AEAD_SET_TAG = 0x11;
const UNCHANGED = -1;

const WORD_RANGE = 2 ** 32;
/** Of one context's own memory: nonce at 0, a length that OpenSSL reports at 16, the key at 32 while it is being set. */
const OWN_BYTES = 128;
const LENGTH_AT = 16;
const KEY_AT = 32;

type Evp = {
  readonly newContext: () => number;
  readonly freeContext: (context: number) => void;
  readonly aes256Gcm: () => number;
  readonly init: (
    context: number,
    cipher: number,
    engine: number,
    key: number,
    nonce: number,
    encrypts: number,
  ) => number;
  readonly update: (
    context: number,
    out: number,
    outLength: number,
    bytes: number,
    lengthBytes: number,
  ) => number;
  readonly final: (context: number, out: number, outLength: number) => number;
  readonly control: (context: number, type: number, value: number, pointer: number) => number;
};

/** Makes Aeads over an arena. Throws where koffi is missing, or a function: a Node with another crypto library. */
export function openEvp(memory: WebAssembly.Memory): (key: Uint8Array) => Aead {
  const ffi = openFfi();
  const evp: Evp = {
    newContext: ffi.func('uintptr_t EVP_CIPHER_CTX_new()'),
    freeContext: ffi.func('void EVP_CIPHER_CTX_free(uintptr_t context)'),
    aes256Gcm: ffi.func('uintptr_t EVP_aes_256_gcm()'),
    init: ffi.func(
      'int EVP_CipherInit_ex(uintptr_t context, uintptr_t cipher, uintptr_t engine, uintptr_t key, uintptr_t nonce, int encrypts)',
    ),
    update: ffi.func(
      'int EVP_CipherUpdate(uintptr_t context, uintptr_t out, uintptr_t outLength, uintptr_t bytes, int lengthBytes)',
    ),
    final: ffi.func(
      'int EVP_CipherFinal_ex(uintptr_t context, uintptr_t out, uintptr_t outLength)',
    ),
    control: ffi.func(
      'int EVP_CIPHER_CTX_ctrl(uintptr_t context, int type, int value, uintptr_t pointer)',
    ),
  };
  const arena = { address: ffi.address(memory.buffer), sizeBytes: memory.buffer.byteLength };
  return (key) => new EvpAead(evp, { arena, key, address: ffi.address });
}

class EvpAead implements Aead {
  readonly #evp: Evp;
  readonly #base: number;
  readonly #sizeBytes: number;
  /** OpenSSL reads and writes it by address: it lives as long as this. */
  readonly #own: Uint32Array<ArrayBuffer>;
  readonly #ownAddress: number;
  readonly #sealing: number;
  readonly #opening: number;

  constructor(
    evp: Evp,
    {
      arena,
      key,
      address,
    }: {
      readonly arena: { readonly address: number; readonly sizeBytes: number };
      readonly key: Uint8Array;
      readonly address: (buffer: ArrayBuffer) => number;
    },
  ) {
    assert(key.length === AEAD_KEY_BYTES, 'a key has 32 bytes');
    this.#evp = evp;
    this.#base = arena.address;
    this.#sizeBytes = arena.sizeBytes;
    const own = new ArrayBuffer(OWN_BYTES);
    this.#own = new Uint32Array(own);
    this.#ownAddress = address(own);
    const keyBytes = new Uint8Array(own, KEY_AT, AEAD_KEY_BYTES);
    keyBytes.set(key);
    this.#sealing = this.#context(1);
    this.#opening = this.#context(0);
    keyBytes.fill(0);
  }

  seal(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): void {
    const { control } = this.#evp;
    this.#run(this.#sealing, number, clearAddress, address, lengthBytes);
    const tag = this.#at(tagAddress, AEAD_TAG_BYTES);
    const sealed =
      this.#finish(this.#sealing) === 1 &&
      control(this.#sealing, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_BYTES, tag) === 1;
    assert(sealed, 'what is whole can be sealed');
  }

  open(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): boolean {
    const tag = this.#at(tagAddress, AEAD_TAG_BYTES);
    this.#run(this.#opening, number, clearAddress, address, lengthBytes);
    const given = this.#evp.control(this.#opening, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_BYTES, tag);
    assert(given === 1, 'a tag can be given');
    return this.#finish(this.#opening) === 1;
  }

  close(): void {
    // It overwrites the key.
    this.#evp.freeContext(this.#sealing);
    this.#evp.freeContext(this.#opening);
  }

  #context(encrypts: number): number {
    const context = this.#evp.newContext();
    const key = this.#ownAddress + KEY_AT;
    const made =
      context !== 0 && this.#evp.init(context, this.#evp.aes256Gcm(), 0, key, 0, encrypts) === 1;
    assert(made, 'OpenSSL takes a key');
    return context;
  }

  #run(
    context: number,
    number: number,
    clearAddress: number,
    address: number,
    lengthBytes: number,
  ): void {
    const { init, update } = this.#evp;
    const own = this.#ownAddress;
    this.#own[1] = number >>> 0;
    this.#own[2] = number / WORD_RANGE;
    const at = this.#at(address, lengthBytes);
    const clear = this.#at(clearAddress, AEAD_CLEAR_BYTES);
    const done =
      init(context, 0, 0, 0, own, UNCHANGED) === 1 &&
      update(context, 0, own + LENGTH_AT, clear, AEAD_CLEAR_BYTES) === 1 &&
      update(context, at, own + LENGTH_AT, at, lengthBytes) === 1;
    assert(done, 'OpenSSL takes bytes');
  }

  /** 1: done, and of what is opened: the tag is right. GCM has no bytes left to give here. */
  #finish(context: number): number {
    const own = this.#ownAddress;
    return this.#evp.final(context, own + KEY_AT, own + LENGTH_AT);
  }

  /** The address for OpenSSL of a range of the arena. */
  #at(address: number, lengthBytes: number): number {
    const inside = address >= 0 && lengthBytes >= 1 && address + lengthBytes <= this.#sizeBytes;
    assert(inside, 'what is sealed lies in the arena');
    return this.#base + address;
  }
}
