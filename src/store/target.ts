/** A volume or snapshot as a frontend drives it: BlockTarget over Core. */

import { BLOCK_BYTES, type BlockTarget } from '../model/block-target.ts';
import { allocationOf } from './allocation.ts';
import type { Core } from './core.ts';
import type { Client, Request, RequestKind } from './piece.ts';

/** Requests at once through one target: what a client of depth 128 can use. */
const REQUEST_COUNT_MAX = 128;

export class Target implements BlockTarget {
  readonly requestCountMax: number = REQUEST_COUNT_MAX;
  readonly #core: Core;
  readonly #client: Client;

  constructor(core: Core, client: Client) {
    this.#core = core;
    this.#client = client;
  }

  get sizeBytes(): number {
    return this.#client.volume.sizeBytes;
  }

  read(token: number, firstBlock: number, blockCount: number, address: number): void {
    const request = this.#request('read', token);
    this.#range(request, firstBlock * BLOCK_BYTES, blockCount * BLOCK_BYTES);
    request.address = address;
    this.#core.submit(request);
  }

  write(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    address: number,
    fua: boolean,
  ): void {
    const request = this.#request('write', token);
    this.#range(request, offsetBytes, lengthBytes);
    request.address = address;
    request.fua = fua;
    this.#core.submit(request);
  }

  zero(
    token: number,
    offsetBytes: number,
    lengthBytes: number,
    options: { readonly allocate: boolean; readonly fua: boolean },
  ): void {
    const request = this.#request('zero', token);
    this.#range(request, offsetBytes, lengthBytes);
    request.address = 0;
    request.fua = options.fua;
    request.allocate = options.allocate;
    this.#core.submit(request);
  }

  trim(token: number, offsetBytes: number, lengthBytes: number, fua: boolean): void {
    const request = this.#request('trim', token);
    this.#range(request, offsetBytes, lengthBytes);
    request.fua = fua;
    this.#core.submit(request);
  }

  flush(token: number): void {
    this.#core.submit(this.#request('flush', token));
  }

  status(firstBlock: number, blockCount: number, runs: Uint32Array): number {
    return allocationOf(this.#core.map, this.#client, {
      first: firstBlock,
      count: blockCount,
      runs,
    });
  }

  #request(kind: RequestKind, token: number): Request {
    const request = this.#core.request();
    request.client = this.#client;
    request.kind = kind;
    request.token = token;
    return request;
  }

  #range(request: Request, offset: number, length: number): void {
    request.offset = offset;
    request.end = offset + length;
  }
}
