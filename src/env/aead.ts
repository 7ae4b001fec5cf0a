/** Authenticated encryption in an arena: what protects the frames between engines (docs/peer-protocol.md, "Keys"). */

/** Bytes of a key of AES-256. */
export const AEAD_KEY_BYTES = 32;
/** Bytes of a tag. */
export const AEAD_TAG_BYTES = 16;
/** Bytes that are authenticated and stay readable. */
export const AEAD_CLEAR_BYTES = 16;

/**
 * AES-256-GCM under one key, for one direction. The nonce is 4 bytes of zero and `number`, below 2^53, 64 bits little-endian: the
 * caller never gives a number twice to {@link Aead.seal}. Addresses are of the arena, and the ranges do not overlap.
 */
export type Aead = {
  /** Encrypts `lengthBytes` (at least 1) at `address` in place, and writes the tag over them and the clear bytes at `clearAddress`. */
  seal(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): void;
  /** Decrypts in place. False: the tag is another, and the bytes are nothing to look at. */
  open(
    number: number,
    clearAddress: number,
    tagAddress: number,
    address: number,
    lengthBytes: number,
  ): boolean;
  /** Wipes the key. Nothing is called afterwards. */
  close(): void;
};

/** Where keys are used, and new ones made of old. */
export type Cipher = {
  readonly kind: 'evp' | 'node';
  /** `key` has {@link AEAD_KEY_BYTES} and stays the caller's. */
  aead(key: Uint8Array): Aead;
  /** HMAC-SHA-256 of the UTF-8 bytes of `text`: 32 bytes that the caller owns. */
  hmac(secret: Uint8Array, text: string): Uint8Array;
};
