/**
 * What an NBD server owes a client for a stream of bytes, worked out without the server's own code: which requests the stream holds, whether each
 * is to succeed, what a read returns, and what the volume holds in the end.
 */

import { Buffer } from 'node:buffer';

import { BLOCK_BYTES } from '../../src/model/block-target.ts';

const MAGIC = 0x25609513;
const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const ZEROES = 6;
const STATUS = 7;
const PAYLOAD_MAX = 33_554_432;
/** By type: command flags that the protocol documents for it, FUA (1) on every one. */
const FLAGS = [1 | 4, 1, 1, 1, 1, 1, 1 | 2 | 16, 1 | 8];

export type Mode = { readonly structured: boolean; readonly contexts: boolean };

/** One request that has to be answered. */
export type Owed = {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  /** Whether it is refused. */
  readonly fails: boolean;
  /** What a READ that succeeds returns. */
  readonly content: Buffer | undefined;
};

/** How the stream ends: all is answered, then the connection closes; or it closes at once; or the server waits for more. */
export type Ending = 'disconnect' | 'garbage' | 'unfinished';

export type Prediction = { readonly owed: ReadonlyMap<bigint, Owed>; readonly ending: Ending };

/** Follows `stream`, the transmission phase's bytes, and applies it to `volume`. Cookies in it are distinct. */
export function predict(stream: Buffer, volume: Buffer, mode: Mode): Prediction {
  const owed = new Map<bigint, Owed>();
  let at = 0;
  for (;;) {
    if (stream.length - at < 28) return { owed, ending: 'unfinished' };
    if (stream.readUInt32BE(at) !== MAGIC) return { owed, ending: 'garbage' };
    const flags = stream.readUInt16BE(at + 4);
    const type = stream.readUInt16BE(at + 6);
    const cookie = stream.readBigUInt64BE(at + 8);
    const wideOffset = stream.readBigUInt64BE(at + 16);
    const length = stream.readUInt32BE(at + 24);
    at += 28;
    if (type === DISC) return { owed, ending: 'disconnect' };
    const offset = wideOffset < 2n ** 53n ? Number(wideOffset) : 2 ** 53;
    const request = { type, flags, offset, length };
    const fails = isRefused(request, volume.length, mode);
    const payload = stream.subarray(at, at + (type === WRITE ? length : 0));
    const whole = type !== WRITE || payload.length === length;
    if (fails || whole) {
      const content = !fails && type === READ ? slice(volume, offset, length) : undefined;
      owed.set(cookie, { ...request, fails, content });
      if (!fails) apply(volume, request, payload);
    }
    if (!whole) return { owed, ending: 'unfinished' };
    at += payload.length;
  }
}

type Request = Pick<Owed, 'type' | 'flags' | 'offset' | 'length'>;

function isRefused(
  { type, flags, offset, length }: Request,
  sizeBytes: number,
  mode: Mode,
): boolean {
  const allowed = FLAGS[type];
  if (allowed === undefined || (flags & ~allowed) !== 0) return true;
  if (type === FLUSH) return offset !== 0 || length !== 0;
  if (offset + length > sizeBytes) return true;
  if ((type === READ || type === WRITE) && length > PAYLOAD_MAX) return true;
  if (type === READ && (flags & 4) !== 0 && !mode.structured) return true;
  if (type === STATUS) return !mode.contexts || length === 0;
  const fast = type === ZEROES && (flags & 16) !== 0;
  return fast && ((flags & 2) !== 0 || offset % BLOCK_BYTES !== 0 || length % BLOCK_BYTES !== 0);
}

function apply(volume: Buffer, { type, offset, length }: Request, payload: Buffer): void {
  if (type === WRITE) payload.copy(volume, offset);
  else if (type === ZEROES) volume.fill(0, offset, offset + length);
  else if (type === TRIM) {
    const from = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const to = Math.floor((offset + length) / BLOCK_BYTES) * BLOCK_BYTES;
    if (to > from) volume.fill(0, from, to);
  }
}

function slice(volume: Buffer, offset: number, length: number): Buffer {
  return Buffer.from(volume.subarray(offset, offset + length));
}

/** Checks what a server sent in transmission against the prediction; throws with what is wrong. Returns how many requests it answered. */
export function checkReplies(
  received: Buffer,
  prediction: Prediction,
  options: { readonly mode: Mode; readonly cut: boolean },
): number {
  const open = new Map(
    [...prediction.owed].map(([cookie, owed]) => [cookie, new Answer(cookie, owed)]),
  );
  let at = 0;
  let answered = 0;
  // Where the client vanished, the last message may be cut off.
  const ends = (count: number): boolean => {
    if (received.length - at >= count) return false;
    if (options.cut) return true;
    throw new Error(`a reply is cut off: ${received.length - at} bytes of ${count}`);
  };
  while (at < received.length) {
    if (ends(16)) return answered;
    const magic = received.readUInt32BE(at);
    const answer = open.get(received.readBigUInt64BE(at + 8));
    if (answer === undefined) throw new Error(`a reply to nothing, at byte ${at}`);
    if (magic === 0x67446698) {
      const length = answer.onSimple(received.readUInt32BE(at + 4), options.mode);
      if (ends(16 + length)) return answered;
      answer.onData(received.subarray(at + 16, at + 16 + length));
      at += 16 + length;
    } else if (magic === 0x668e33ef && options.mode.structured) {
      if (ends(20)) return answered;
      const length = received.readUInt32BE(at + 16);
      if (ends(20 + length)) return answered;
      const [flags, type] = [received.readUInt16BE(at + 4), received.readUInt16BE(at + 6)];
      answer.onChunk(flags, type, received.subarray(at + 20, at + 20 + length));
      at += 20 + length;
    } else throw new Error(`a reply with magic ${magic.toString(16)}`);
    if (answer.isOver) {
      answered += 1;
      open.delete(answer.cookie);
    }
  }
  if (!options.cut && open.size > 0) throw new Error(`${open.size} requests were not answered`);
  return answered;
}

class Answer {
  readonly cookie: bigint;
  readonly #owed: Owed;
  readonly #content: Buffer;
  #covered = 0;
  #contentChunks = 0;
  #failed = false;
  isOver = false;

  constructor(cookie: bigint, owed: Owed) {
    this.cookie = cookie;
    this.#owed = owed;
    this.#content = Buffer.alloc(owed.content?.length ?? 0, 0xaa);
  }

  onSimple(errno: number, mode: Mode): number {
    const { type, fails, content } = this.#owed;
    if (type === READ && mode.structured) throw new Error('a simple reply to a structured read');
    if (type === STATUS && errno === 0) throw new Error('a simple reply to BLOCK_STATUS');
    if ((errno !== 0) !== fails)
      throw new Error(`errno ${errno} for ${JSON.stringify(this.#owed)}`);
    this.isOver = true;
    return errno === 0 ? (content?.length ?? 0) : 0;
  }

  onData(data: Buffer): void {
    const { content } = this.#owed;
    if (content !== undefined && !data.equals(content)) throw new Error('wrong content');
  }

  onChunk(flags: number, type: number, payload: Buffer): void {
    if (type === 1 || type === 2) this.#onContent(type, payload);
    else if (type === 5) this.#onStatus(payload);
    else if (type >= 0x8000) {
      this.#failed = true;
      if (payload.readUInt32BE() === 0) throw new Error('an error chunk without an error');
      if (6 + payload.readUInt16BE(4) > payload.length) throw new Error('a text that is too long');
    } else if (type !== 0) throw new Error(`chunk type ${type}`);
    if ((flags & 1) !== 0) this.#onDone();
  }

  #onContent(type: number, payload: Buffer): void {
    const { content, offset, length } = this.#owed;
    if (content === undefined) throw new Error('content for no read');
    const at = Number(payload.readBigUInt64BE()) - offset;
    const count = type === 1 ? payload.length - 8 : payload.readUInt32BE(8);
    if (at < 0 || count <= 0 || at + count > length) throw new Error('a chunk outside its request');
    if (type === 1) payload.copy(this.#content, at, 8);
    else this.#content.fill(0, at, at + count);
    this.#covered += count;
    this.#contentChunks += 1;
  }

  #onStatus(payload: Buffer): void {
    const { type, length, flags } = this.#owed;
    if (type !== STATUS) throw new Error('a status for no BLOCK_STATUS');
    let sum = 0;
    for (let at = 4; at < payload.length; at += 8) {
      const count = payload.readUInt32BE(at);
      const state = payload.readUInt32BE(at + 4);
      if (count === 0 || (state !== 0 && state !== 3)) throw new Error('a bad extent');
      sum += count;
    }
    if (sum === 0 || sum > length) throw new Error(`extents of ${sum} bytes for ${length}`);
    if ((flags & 8) !== 0 && payload.length !== 12) throw new Error('more than one extent');
  }

  #onDone(): void {
    const { fails, content, flags, length } = this.#owed;
    if (this.#failed !== fails) throw new Error(`a wrong verdict on ${JSON.stringify(this.#owed)}`);
    if (!fails && content !== undefined) {
      if (this.#covered !== length) throw new Error('chunks that do not cover the request once');
      if (!this.#content.equals(content)) throw new Error('wrong content');
      if ((flags & 4) !== 0 && this.#contentChunks > 1) throw new Error('DF, and fragmented');
    }
    this.isOver = true;
  }
}
