/**
 * The server's side of NBD's fixed newstyle negotiation, as a pure machine: bytes in, replies out. One export, no TLS.
 * One option is answered per step, as the protocol demands of clients, so a reply is never larger than {@link HANDSHAKE_REPLY_BYTES_MAX}.
 *
 *     server: "NBDMAGIC" "IHAVEOPT" flags:16
 *     client: flags:32
 *     client: "IHAVEOPT" option:32 length:32 data          repeated
 *     server: reply magic:64 option:32 type:32 length:32 data   one or more for each option but EXPORT_NAME
 */

import {
  ALLOCATION_CONTEXT,
  ALLOCATION_CONTEXT_ID,
  BLOCK_BYTES_MIN,
  BLOCK_BYTES_PREFERRED,
  FLAG_CAN_MULTI_CONN,
  FLAG_FIXED_NEWSTYLE,
  FLAG_HAS_FLAGS,
  FLAG_NO_ZEROES,
  FLAG_READ_ONLY,
  FLAG_SEND_CACHE,
  FLAG_SEND_DF,
  FLAG_SEND_FAST_ZERO,
  FLAG_SEND_FLUSH,
  FLAG_SEND_FUA,
  FLAG_SEND_TRIM,
  FLAG_SEND_WRITE_ZEROES,
  IHAVEOPT_HIGH,
  IHAVEOPT_LOW,
  INFO_BLOCK_SIZE,
  INFO_DESCRIPTION,
  INFO_EXPORT,
  INFO_NAME,
  INIT_PASSWD_HIGH,
  INIT_PASSWD_LOW,
  OPT_ABORT,
  OPT_EXPORT_NAME,
  OPT_GO,
  OPT_INFO,
  OPT_LIST,
  OPT_LIST_META_CONTEXT,
  OPT_SET_META_CONTEXT,
  OPT_STARTTLS,
  OPT_STRUCTURED_REPLY,
  PAYLOAD_BYTES_MAX,
  REP_ACK,
  REP_ERR_INVALID,
  REP_ERR_SHUTDOWN,
  REP_ERR_TOO_BIG,
  REP_ERR_UNKNOWN,
  REP_ERR_UNSUP,
  REP_INFO,
  REP_META_CONTEXT,
  REP_SERVER,
} from './constants.ts';
import { parseInfoRequest, parseMetaQueries } from './options.ts';
import { type ReplyPart, formatOptionReplies } from './option-reply.ts';

/** What the socket serves, asked anew for each option: the size may change. */
export type ExportInfo = {
  readonly name: string;
  /** For people: OPT_LIST and INFO_DESCRIPTION carry it. At most 256 bytes of UTF-8. */
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** The attachment is being ended: every option but ABORT is refused. */
  readonly shuttingDown: boolean;
};

/**
 * Option data beyond this is skipped and answered with ERR_TOO_BIG. A name of 4096 bytes, a list of information requests and
 * several queries fit; a connection's receive buffer holds one such option whole.
 */
export const OPTION_BYTES_MAX = 32_768;
/** Beyond this the client is not negotiating: it is disconnected, which the protocol allows against denial of service. */
export const OPTION_BYTES_ABSURD: number = 2 ** 24;
/** EXPORT_NAME's 134 bytes; GO's four information replies with name (32) and description (256); errors of 256 bytes. */
export const HANDSHAKE_REPLY_BYTES_MAX = 1024;

/**
 * What one step did. `more`: it needs bytes beyond those given. `reply`: send this and go on. `transmission`: send this, then
 * requests follow. `close`: send this, if anything, and disconnect. `consumedBytes` are done with in every case.
 */
export type HandshakeStep = {
  readonly kind: 'more' | 'reply' | 'transmission' | 'close';
  readonly consumedBytes: number;
  readonly reply: Uint8Array;
};

const OPTION_HEADER_BYTES = 16;
const NOTHING = new Uint8Array(0);
const ERROR_TEXT: ReadonlyMap<number, string> = new Map([
  [REP_ERR_UNSUP, 'This option is not supported'],
  [REP_ERR_INVALID, 'The data of this option is malformed'],
  [REP_ERR_SHUTDOWN, 'The volume is being detached'],
  [REP_ERR_TOO_BIG, `Options of more than ${OPTION_BYTES_MAX} bytes are not read`],
]);

/** The server's first bytes, before anything of the client's. */
export function formatGreeting(): Uint8Array {
  const bytes = new Uint8Array(18);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, INIT_PASSWD_HIGH);
  view.setUint32(4, INIT_PASSWD_LOW);
  view.setUint32(8, IHAVEOPT_HIGH);
  view.setUint32(12, IHAVEOPT_LOW);
  view.setUint16(16, FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES);
  return bytes;
}

export class Handshake {
  readonly #exportInfo: () => ExportInfo;
  #phase: 'flags' | 'options' | 'over' = 'flags';
  #noZeroes = false;
  #structuredReplies = false;
  #allocationContext = false;
  /** Bytes still to skip of an option that was too big. */
  #skipBytes = 0;

  constructor(exportInfo: () => ExportInfo) {
    this.#exportInfo = exportInfo;
  }

  /** Negotiated: READ is answered in chunks. */
  get structuredReplies(): boolean {
    return this.#structuredReplies;
  }

  /** Negotiated: BLOCK_STATUS answers for base:allocation. */
  get allocationContext(): boolean {
    return this.#allocationContext;
  }

  /** Takes the client's flags or one option from the front of `bytes`. */
  step(bytes: Uint8Array): HandshakeStep {
    if (this.#skipBytes > 0) return this.#skip(bytes);
    switch (this.#phase) {
      case 'flags':
        return this.#onFlags(bytes);
      case 'options':
        return this.#onOption(bytes);
      case 'over':
        return close(0);
    }
  }

  #skip(bytes: Uint8Array): HandshakeStep {
    const consumedBytes = Math.min(bytes.length, this.#skipBytes);
    this.#skipBytes -= consumedBytes;
    return { kind: 'more', consumedBytes, reply: NOTHING };
  }

  #onFlags(bytes: Uint8Array): HandshakeStep {
    if (bytes.length < 4) return more();
    const flags = viewOf(bytes).getUint32(0);
    // "the server MUST drop the TCP connection if the client sets an unknown flag". A client without FIXED_NEWSTYLE is
    // served all the same, which the protocol allows.
    if ((flags & ~(FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)) !== 0) return this.#close(4);
    this.#noZeroes = (flags & FLAG_NO_ZEROES) !== 0;
    this.#phase = 'options';
    return { kind: 'reply', consumedBytes: 4, reply: NOTHING };
  }

  #onOption(bytes: Uint8Array): HandshakeStep {
    if (bytes.length < OPTION_HEADER_BYTES) return more();
    const view = viewOf(bytes);
    if (view.getUint32(0) !== IHAVEOPT_HIGH || view.getUint32(4) !== IHAVEOPT_LOW) {
      return this.#close(0);
    }
    const option = view.getUint32(8);
    const dataBytes = view.getUint32(12);
    if (dataBytes > OPTION_BYTES_MAX) {
      if (option === OPT_EXPORT_NAME || dataBytes > OPTION_BYTES_ABSURD) return this.#close(0);
      this.#skipBytes = dataBytes;
      return answer(OPTION_HEADER_BYTES, option, [refusal(REP_ERR_TOO_BIG)]);
    }
    const consumedBytes = OPTION_HEADER_BYTES + dataBytes;
    if (bytes.length < consumedBytes) return more();
    const data = bytes.subarray(OPTION_HEADER_BYTES, consumedBytes);
    if (option === OPT_ABORT) {
      this.#phase = 'over';
      return { ...answer(consumedBytes, option, [ACK]), kind: 'close' };
    }
    const info = this.#exportInfo();
    if (option === OPT_EXPORT_NAME) return this.#onExportName(data, consumedBytes, info);
    if (info.shuttingDown) return answer(consumedBytes, option, [refusal(REP_ERR_SHUTDOWN)]);
    const parts = this.#parts(option, data, info);
    const entered = option === OPT_GO && parts.at(-1)?.type === REP_ACK;
    if (entered) this.#phase = 'over';
    return {
      ...answer(consumedBytes, option, parts),
      kind: entered ? 'transmission' : 'reply',
    };
  }

  #parts(option: number, data: Uint8Array, info: ExportInfo): ReplyPart[] {
    switch (option) {
      case OPT_LIST:
        if (data.length > 0) return [refusal(REP_ERR_INVALID)];
        return [{ type: REP_SERVER, name: info.name, text: info.description }, ACK];
      case OPT_STRUCTURED_REPLY:
        if (data.length > 0) return [refusal(REP_ERR_INVALID)];
        this.#structuredReplies = true;
        return [ACK];
      case OPT_INFO:
      case OPT_GO:
        return this.#onInfo(data, info);
      case OPT_LIST_META_CONTEXT:
      case OPT_SET_META_CONTEXT:
        return this.#onMetaContext(option, data, info);
      case OPT_STARTTLS:
        return [refusal(data.length > 0 ? REP_ERR_INVALID : REP_ERR_UNSUP)];
      default:
        return [refusal(REP_ERR_UNSUP)];
    }
  }

  /** "If the chosen export does not exist […], the server MUST terminate the session." */
  #onExportName(name: Uint8Array, consumedBytes: number, info: ExportInfo): HandshakeStep {
    if (info.shuttingDown || !isNamed(name, info)) return this.#close(consumedBytes);
    const reply = new Uint8Array(this.#noZeroes ? 10 : 134);
    const view = new DataView(reply.buffer);
    view.setBigUint64(0, BigInt(info.sizeBytes));
    view.setUint16(8, this.#transmissionFlags(info));
    this.#phase = 'over';
    return { kind: 'transmission', consumedBytes, reply };
  }

  #onInfo(data: Uint8Array, info: ExportInfo): ReplyPart[] {
    const request = parseInfoRequest(data);
    if (request === undefined) return [refusal(REP_ERR_INVALID)];
    if (!isNamed(request.name, info)) return [unknown(info)];
    const exported = new Uint8Array(12);
    const view = new DataView(exported.buffer);
    view.setUint16(0, INFO_EXPORT);
    view.setBigUint64(2, BigInt(info.sizeBytes));
    view.setUint16(10, this.#transmissionFlags(info));
    const parts: ReplyPart[] = [{ type: REP_INFO, data: exported }];
    if (request.infos.has(INFO_NAME)) {
      parts.push({ type: REP_INFO, info: INFO_NAME, text: info.name });
    }
    if (request.infos.has(INFO_DESCRIPTION)) {
      parts.push({ type: REP_INFO, info: INFO_DESCRIPTION, text: info.description });
    }
    if (request.infos.has(INFO_BLOCK_SIZE)) {
      const sizes = new Uint8Array(14);
      const sizesView = new DataView(sizes.buffer);
      sizesView.setUint16(0, INFO_BLOCK_SIZE);
      sizesView.setUint32(2, BLOCK_BYTES_MIN);
      sizesView.setUint32(6, BLOCK_BYTES_PREFERRED);
      sizesView.setUint32(10, PAYLOAD_BYTES_MAX);
      parts.push({ type: REP_INFO, data: sizes });
    }
    parts.push(ACK);
    return parts;
  }

  #onMetaContext(option: number, data: Uint8Array, info: ExportInfo): ReplyPart[] {
    const selects = option === OPT_SET_META_CONTEXT;
    // "Issuing this command replaces all previously-set metadata contexts (including when this command fails)".
    if (selects) this.#allocationContext = false;
    const request = parseMetaQueries(data);
    if (request === undefined || !this.#structuredReplies) return [refusal(REP_ERR_INVALID)];
    if (!isNamed(request.name, info)) return [unknown(info)];
    const lists = !selects && (request.queries.length === 0 || request.queries.includes('base:'));
    if (!lists && !request.queries.includes(ALLOCATION_CONTEXT)) return [ACK];
    if (selects) this.#allocationContext = true;
    const contextId = selects ? ALLOCATION_CONTEXT_ID : 0;
    return [{ type: REP_META_CONTEXT, contextId, text: ALLOCATION_CONTEXT }, ACK];
  }

  #transmissionFlags(info: ExportInfo): number {
    return (
      FLAG_HAS_FLAGS |
      FLAG_SEND_FLUSH |
      FLAG_SEND_FUA |
      FLAG_SEND_TRIM |
      FLAG_SEND_WRITE_ZEROES |
      FLAG_CAN_MULTI_CONN |
      FLAG_SEND_CACHE |
      FLAG_SEND_FAST_ZERO |
      (this.#structuredReplies ? FLAG_SEND_DF : 0) |
      (info.readOnly ? FLAG_READ_ONLY : 0)
    );
  }

  #close(consumedBytes: number): HandshakeStep {
    this.#phase = 'over';
    return close(consumedBytes);
  }
}

const ACK: ReplyPart = { type: REP_ACK };

function refusal(type: number): ReplyPart {
  return { type, text: ERROR_TEXT.get(type) ?? '' };
}

function unknown(info: ExportInfo): ReplyPart {
  const text = `This socket serves one export, "${info.name}": name it, as in nbd+unix:///${info.name}?socket=PATH`;
  return { type: REP_ERR_UNKNOWN, text };
}

/** The export's name has to be given: it is the attach id, and whoever has an old one must not be served. */
function isNamed(name: Uint8Array, info: ExportInfo): boolean {
  if (name.length !== info.name.length) return false;
  return name.every((byte, index) => byte === info.name.charCodeAt(index));
}

function answer(consumedBytes: number, option: number, parts: readonly ReplyPart[]): HandshakeStep {
  return { kind: 'reply', consumedBytes, reply: formatOptionReplies(option, parts) };
}

function more(): HandshakeStep {
  return { kind: 'more', consumedBytes: 0, reply: NOTHING };
}

function close(consumedBytes: number): HandshakeStep {
  return { kind: 'close', consumedBytes, reply: NOTHING };
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
