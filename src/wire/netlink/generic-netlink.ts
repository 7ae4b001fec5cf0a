/**
 * Generic netlink messages (linux/netlink.h, linux/genetlink.h), in the machine's byte order:
 *
 *     length(4) type(2) flags(2) sequence(4) port(4)   command(1) version(1) 0(2)   attributes
 *     attribute: length(2) type(2) value, padded to 4 bytes; the length is without the padding
 */

const HEADER_BYTES = 16;
const COMMAND_BYTES = 4;
const ATTRIBUTE_BYTES = 4;
const FLAGS_REQUEST_ACK = 1 | 4;
const MESSAGE_ERROR = 2;
const ATTRIBUTE_NESTED = 0x8000;
const ATTRIBUTE_TYPE_MASK = 0x3fff;

const CONTROL_FAMILY = 0x10;
const CONTROL_GET_FAMILY = 3;
const CONTROL_FAMILY_ID = 1;
const CONTROL_FAMILY_NAME = 2;

export type Attribute =
  | { readonly type: number; readonly u32: number }
  | { readonly type: number; readonly u64: bigint }
  | { readonly type: number; readonly text: string }
  | { readonly type: number; readonly nested: readonly Attribute[] };

export type NetlinkMessage =
  /** The end of a request: 0 or a positive errno. */
  | { readonly kind: 'end'; readonly errno: number }
  | { readonly kind: 'data'; readonly attributes: ReadonlyMap<number, DataView> };

/** Formats a request that is acknowledged. */
export function formatMessage(message: {
  readonly family: number;
  readonly command: number;
  readonly version: number;
  readonly attributes: readonly Attribute[];
}): Uint8Array {
  const body = concat(message.attributes.map((attribute) => formatAttribute(attribute)));
  const bytes = new Uint8Array(HEADER_BYTES + COMMAND_BYTES + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, message.family, true);
  view.setUint16(6, FLAGS_REQUEST_ACK, true);
  view.setUint32(8, 1, true);
  view.setUint8(16, message.command);
  view.setUint8(17, message.version);
  bytes.set(body, HEADER_BYTES + COMMAND_BYTES);
  return bytes;
}

/** Asks for the number of the family `name`; {@link familyOf} finds it in the answer. */
export function formatGetFamily(name: string): Uint8Array {
  return formatMessage({
    family: CONTROL_FAMILY,
    command: CONTROL_GET_FAMILY,
    version: 1,
    attributes: [{ type: CONTROL_FAMILY_NAME, text: name }],
  });
}

/** The number of the family that an answer of the controller names. */
export function familyOf(attributes: ReadonlyMap<number, DataView>): number | undefined {
  return attributes.get(CONTROL_FAMILY_ID)?.getUint16(0, true);
}

/** Parses the messages of one datagram. What is cut short is left out. */
export function parseMessages(datagram: Uint8Array): NetlinkMessage[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= view.byteLength) {
    const lengthBytes = view.getUint32(at, true);
    if (lengthBytes < HEADER_BYTES || at + lengthBytes > view.byteLength) break;
    const type = view.getUint16(at + 4, true);
    const body = { at: at + HEADER_BYTES, end: at + lengthBytes };
    if (type !== MESSAGE_ERROR) {
      const first = { at: body.at + COMMAND_BYTES, end: body.end };
      messages.push({ kind: 'data', attributes: parseAttributes(view, first) });
    } else if (body.end - body.at >= 4) {
      messages.push({ kind: 'end', errno: -view.getInt32(body.at, true) });
    }
    at += padded(lengthBytes);
  }
  return messages;
}

function parseAttributes(
  view: DataView,
  range: { readonly at: number; readonly end: number },
): Map<number, DataView> {
  const attributes = new Map<number, DataView>();
  let { at } = range;
  while (at + ATTRIBUTE_BYTES <= range.end) {
    const lengthBytes = view.getUint16(at, true);
    if (lengthBytes < ATTRIBUTE_BYTES || at + lengthBytes > range.end) break;
    const type = view.getUint16(at + 2, true) & ATTRIBUTE_TYPE_MASK;
    const start = view.byteOffset + at + ATTRIBUTE_BYTES;
    attributes.set(type, new DataView(view.buffer, start, lengthBytes - ATTRIBUTE_BYTES));
    at += padded(lengthBytes);
  }
  return attributes;
}

function formatAttribute(attribute: Attribute): Uint8Array {
  const value = valueOf(attribute);
  const bytes = new Uint8Array(padded(ATTRIBUTE_BYTES + value.length));
  const view = new DataView(bytes.buffer);
  const nested = 'nested' in attribute ? ATTRIBUTE_NESTED : 0;
  view.setUint16(0, ATTRIBUTE_BYTES + value.length, true);
  view.setUint16(2, attribute.type | nested, true);
  bytes.set(value, ATTRIBUTE_BYTES);
  return bytes;
}

function valueOf(attribute: Attribute): Uint8Array {
  if ('text' in attribute) return new TextEncoder().encode(`${attribute.text}\0`);
  if ('nested' in attribute) {
    return concat(attribute.nested.map((inner) => formatAttribute(inner)));
  }
  const bytes = new Uint8Array('u32' in attribute ? 4 : 8);
  const view = new DataView(bytes.buffer);
  if ('u32' in attribute) view.setUint32(0, attribute.u32, true);
  else view.setBigUint64(0, attribute.u64, true);
  return bytes;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function padded(lengthBytes: number): number {
  return Math.ceil(lengthBytes / 4) * 4;
}
