/** Numbers of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md), with the protocol's own names less the prefix. */

// Handshake.
export const INIT_PASSWD_HIGH = 0x4e42444d; // "NBDM"
export const INIT_PASSWD_LOW = 0x41474943; // "AGIC"
export const IHAVEOPT_HIGH = 0x49484156; // "IHAV"
export const IHAVEOPT_LOW = 0x454f5054; // "EOPT"
export const OPTION_REPLY_MAGIC_HIGH = 0x0003e889;
export const OPTION_REPLY_MAGIC_LOW = 0x045565a9;

export const FLAG_FIXED_NEWSTYLE = 1;
export const FLAG_NO_ZEROES = 2;

export const OPT_EXPORT_NAME = 1;
export const OPT_ABORT = 2;
export const OPT_LIST = 3;
export const OPT_STARTTLS = 5;
export const OPT_INFO = 6;
export const OPT_GO = 7;
export const OPT_STRUCTURED_REPLY = 8;
export const OPT_LIST_META_CONTEXT = 9;
export const OPT_SET_META_CONTEXT = 10;

export const REP_ACK = 1;
export const REP_SERVER = 2;
export const REP_INFO = 3;
export const REP_META_CONTEXT = 4;
export const REP_ERR_UNSUP = 0x80000001;
export const REP_ERR_INVALID = 0x80000003;
export const REP_ERR_UNKNOWN = 0x80000006;
export const REP_ERR_SHUTDOWN = 0x80000007;
export const REP_ERR_TOO_BIG = 0x80000009;

export const INFO_EXPORT = 0;
export const INFO_NAME = 1;
export const INFO_DESCRIPTION = 2;
export const INFO_BLOCK_SIZE = 3;

// Transmission flags.
export const FLAG_HAS_FLAGS: number = 1 << 0;
export const FLAG_READ_ONLY: number = 1 << 1;
export const FLAG_SEND_FLUSH: number = 1 << 2;
export const FLAG_SEND_FUA: number = 1 << 3;
export const FLAG_SEND_TRIM: number = 1 << 5;
export const FLAG_SEND_WRITE_ZEROES: number = 1 << 6;
export const FLAG_SEND_DF: number = 1 << 7;
export const FLAG_CAN_MULTI_CONN: number = 1 << 8;
export const FLAG_SEND_CACHE: number = 1 << 10;
export const FLAG_SEND_FAST_ZERO: number = 1 << 11;

// Requests.
export const REQUEST_MAGIC = 0x25609513;
export const REQUEST_BYTES = 28;

export const CMD_READ = 0;
export const CMD_WRITE = 1;
export const CMD_DISC = 2;
export const CMD_FLUSH = 3;
export const CMD_TRIM = 4;
export const CMD_CACHE = 5;
export const CMD_WRITE_ZEROES = 6;
export const CMD_BLOCK_STATUS = 7;

export const CMD_FLAG_FUA: number = 1 << 0;
export const CMD_FLAG_NO_HOLE: number = 1 << 1;
export const CMD_FLAG_DF: number = 1 << 2;
export const CMD_FLAG_REQ_ONE: number = 1 << 3;
export const CMD_FLAG_FAST_ZERO: number = 1 << 4;

// Replies.
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
/** A chunk's header, before its payload. */
export const CHUNK_HEADER_BYTES = 20;

export const REPLY_FLAG_DONE = 1;
export const REPLY_TYPE_NONE = 0;
export const REPLY_TYPE_OFFSET_DATA = 1;
export const REPLY_TYPE_OFFSET_HOLE = 2;
export const REPLY_TYPE_BLOCK_STATUS = 5;
export const REPLY_TYPE_ERROR = 0x8001;
export const REPLY_TYPE_ERROR_OFFSET = 0x8002;

export const STATE_HOLE = 1;
export const STATE_ZERO = 2;
export const ALLOCATION_CONTEXT = 'base:allocation';
/** The only context's id, transient by the protocol. */
export const ALLOCATION_CONTEXT_ID = 1;

// Size constraints that Holdfast advertises.
export const BLOCK_BYTES_MIN = 1;
export const BLOCK_BYTES_PREFERRED = 4096;
/** 32 MiB: what the protocol asks a portable server to accept. */
export const PAYLOAD_BYTES_MAX: number = 2 ** 25;
/** The protocol's bound of a string. */
export const STRING_BYTES_MAX = 4096;
