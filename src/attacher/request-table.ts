/** What each slot of an NBD client asks for: its header in the arena, and where its data lies. Preallocated. */

import { formatRequest } from '../wire/nbd-client/nbd-transmission.ts';
import { CMD_READ, CMD_WRITE, CMD_WRITE_ZEROES, REQUEST_BYTES } from '../wire/nbd/constants.ts';
import type { SendBatch } from './send-batch.ts';

const HEADER_BYTES = 32;

export const tableArenaBytes = (slotCount: number): number => slotCount * HEADER_BYTES;

/** Bytes of the arena. */
export type Data = { readonly address: number; readonly lengthBytes: number };

export class RequestTable {
  readonly #address: number;
  readonly #headers: DataView;
  readonly #type: Uint8Array;
  readonly #dataAddress: Float64Array;
  readonly #dataBytes: Uint32Array;

  constructor(
    memory: ArrayBuffer,
    options: { readonly address: number; readonly slotCount: number },
  ) {
    const { address, slotCount } = options;
    this.#address = address;
    this.#headers = new DataView(memory, address, tableArenaBytes(slotCount));
    this.#type = new Uint8Array(slotCount);
    this.#dataAddress = new Float64Array(slotCount);
    this.#dataBytes = new Uint32Array(slotCount);
  }

  set(
    slot: number,
    request: {
      readonly type: number;
      readonly flags: number;
      readonly offsetBytes: number;
      readonly data: Data;
    },
  ): void {
    this.#type[slot] = request.type;
    this.#dataAddress[slot] = request.data.address;
    this.#dataBytes[slot] = request.data.lengthBytes;
    formatRequest(this.#headers, slot * HEADER_BYTES, {
      flags: request.flags,
      type: request.type,
      cookieHigh: 0,
      cookieLow: slot,
      offsetBytes: request.offsetBytes,
      lengthBytes: request.data.lengthBytes,
    });
  }

  isZeroing(slot: number): boolean {
    return this.#type[slot] === CMD_WRITE_ZEROES;
  }

  /** Data that follows the reply. */
  readBytes(slot: number): number {
    return this.#type[slot] === CMD_READ ? this.#dataBytes[slot]! : 0;
  }

  dataAddress(slot: number): number {
    return this.#dataAddress[slot]!;
  }

  /** Adds one or two segments. */
  addTo(batch: SendBatch, slot: number): void {
    batch.add(this.#address + slot * HEADER_BYTES, REQUEST_BYTES);
    if (this.#type[slot] === CMD_WRITE) {
      batch.add(this.#dataAddress[slot]!, this.#dataBytes[slot]!);
    }
  }
}
