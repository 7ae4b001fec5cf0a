/**
 * The client's side of NBD's fixed newstyle handshake (NBD protocol, "Fixed newstyle negotiation", "NBD_OPT_GO"):
 *
 *     server   NBDMAGIC, IHAVEOPT, flags(2)
 *     client   flags(4), IHAVEOPT, NBD_OPT_GO(4), length(4), name length(4), name, 0 information requests(2)
 *     server   replies of: magic(8), option(4), type(4), length(4), data; INFO any number of times, then ACK or an error
 *
 * Structured replies are not asked for: a simple reply is 16 bytes and its data, and nothing here needs more.
 */

import {
  FLAG_FIXED_NEWSTYLE,
  FLAG_NO_ZEROES,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  INFO_EXPORT,
  INIT_PASSWD_HIGH,
  INIT_PASSWD_LOW,
  OPTION_REPLY_MAGIC_HIGH,
  OPTION_REPLY_MAGIC_LOW,
  OPT_GO,
  REP_ACK,
  REP_ERR_UNKNOWN,
  REP_INFO,
} from '../nbd/constants.ts';

const GREETING_BYTES = 18;
const REPLY_HEADER_BYTES = 20;
const MAGIC_SERVER = wide(INIT_PASSWD_HIGH, INIT_PASSWD_LOW);
const MAGIC_OPTION = wide(IHAVEOPT_HIGH, IHAVEOPT_LOW);
const MAGIC_REPLY = wide(OPTION_REPLY_MAGIC_HIGH, OPTION_REPLY_MAGIC_LOW);
/** Data of one reply; servers send names and messages of at most 4 KiB. */
export const REPLY_DATA_BYTES_MAX = 8192;

/** What the server offers of one export. `flags` are its transmission flags (NBD_FLAG_). */
export type Export = { readonly sizeBytes: number; readonly flags: number };

export type Handshake =
  /** `send` goes out at once; then call again with what arrived after `usedBytes`. */
  | { readonly kind: 'more'; readonly usedBytes: number; readonly send?: Uint8Array }
  | { readonly kind: 'ready'; readonly usedBytes: number; readonly export: Export }
  /** This server does not know the export, and says so in so many words. */
  | { readonly kind: 'unknown' }
  /** Anything else: not this protocol, or an error that may pass. */
  | { readonly kind: 'failed'; readonly problem: string };

export class ClientHandshake {
  readonly #exportName: string;
  #greeted = false;
  #export: Export | undefined;

  constructor(exportName: string) {
    this.#exportName = exportName;
  }

  /** Takes what arrived and was not used yet. Bytes after a final answer belong to the transmission phase. */
  step(bytes: Uint8Array): Handshake {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (!this.#greeted) return this.#onGreeting(view);
    let usedBytes = 0;
    while (view.byteLength - usedBytes >= REPLY_HEADER_BYTES) {
      const lengthBytes = view.getUint32(usedBytes + 16);
      if (view.getBigUint64(usedBytes) !== MAGIC_REPLY || lengthBytes > REPLY_DATA_BYTES_MAX) {
        return { kind: 'failed', problem: 'its answer to the handshake is not NBD' };
      }
      const end = usedBytes + REPLY_HEADER_BYTES + lengthBytes;
      if (end > view.byteLength) break;
      const outcome = this.#onReply(view, { at: usedBytes, end });
      if (outcome !== undefined) return outcome;
      usedBytes = end;
    }
    return { kind: 'more', usedBytes };
  }

  #onGreeting(view: DataView): Handshake {
    if (view.byteLength < GREETING_BYTES) return { kind: 'more', usedBytes: 0 };
    if (view.getBigUint64(0) !== MAGIC_SERVER || view.getBigUint64(8) !== MAGIC_OPTION) {
      return { kind: 'failed', problem: 'its greeting is not NBD, newstyle' };
    }
    const flags = view.getUint16(16) & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
    if ((flags & FLAG_FIXED_NEWSTYLE) === 0) {
      return { kind: 'failed', problem: 'it lacks the fixed newstyle handshake' };
    }
    this.#greeted = true;
    return { kind: 'more', usedBytes: GREETING_BYTES, send: this.#formatGo(flags) };
  }

  #formatGo(flags: number): Uint8Array {
    const name = new TextEncoder().encode(this.#exportName);
    const bytes = new Uint8Array(4 + 16 + 4 + name.length + 2);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, flags);
    view.setBigUint64(4, MAGIC_OPTION);
    view.setUint32(12, OPT_GO);
    view.setUint32(16, 4 + name.length + 2);
    view.setUint32(20, name.length);
    bytes.set(name, 24);
    return bytes;
  }

  #onReply(
    view: DataView,
    reply: { readonly at: number; readonly end: number },
  ): Handshake | undefined {
    const type = view.getUint32(reply.at + 12);
    const data = reply.at + REPLY_HEADER_BYTES;
    if (type === REP_INFO) {
      if (reply.end - data >= 12 && view.getUint16(data) === INFO_EXPORT) {
        const sizeBytes = Number(view.getBigUint64(data + 2));
        this.#export = { sizeBytes, flags: view.getUint16(data + 10) };
      }
      return undefined;
    }
    if (type === REP_ACK) {
      if (this.#export === undefined) {
        return { kind: 'failed', problem: 'it acknowledged without describing the export' };
      }
      return { kind: 'ready', usedBytes: reply.end, export: this.#export };
    }
    if (type === REP_ERR_UNKNOWN) return { kind: 'unknown' };
    return { kind: 'failed', problem: `it answered the handshake with ${type.toString(16)}` };
  }
}

function wide(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low);
}
