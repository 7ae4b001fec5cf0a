/**
 * Replies to NBD's options, formatted:
 *
 *     0   magic:64 = 0x3e889045565a9
 *     8   option:32       as the client sent it
 *     12  type:32
 *     16  length:32
 *     20  data
 */

import { OPTION_REPLY_MAGIC_HIGH, OPTION_REPLY_MAGIC_LOW } from './constants.ts';

/**
 * One reply's content. With `name`: REP_SERVER, the name's length goes before it and `text` after. With `info` (16 bits) or
 * `contextId` (32 bits): that number goes before `text`. With `data`: these bytes. Else `text` alone.
 */
export type ReplyPart =
  | { readonly type: number; readonly name: string; readonly text: string }
  | { readonly type: number; readonly info: number; readonly text: string }
  | { readonly type: number; readonly contextId: number; readonly text: string }
  | { readonly type: number; readonly data: Uint8Array }
  | { readonly type: number; readonly text?: string };

const HEADER_BYTES = 20;

/** Formats the replies to one option, in order, as one piece. */
export function formatOptionReplies(option: number, parts: readonly ReplyPart[]): Uint8Array {
  const datas = parts.map((part) => formatData(part));
  const total = datas.reduce((sum, data) => sum + HEADER_BYTES + data.length, 0);
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [index, data] of datas.entries()) {
    view.setUint32(at, OPTION_REPLY_MAGIC_HIGH);
    view.setUint32(at + 4, OPTION_REPLY_MAGIC_LOW);
    view.setUint32(at + 8, option);
    view.setUint32(at + 12, parts[index]?.type ?? 0);
    view.setUint32(at + 16, data.length);
    bytes.set(data, at + HEADER_BYTES);
    at += HEADER_BYTES + data.length;
  }
  return bytes;
}

function formatData(part: ReplyPart): Uint8Array {
  if ('data' in part) return part.data;
  const text = new TextEncoder().encode(part.text ?? '');
  if ('name' in part) {
    const name = new TextEncoder().encode(part.name);
    const data = withPrefix(4, name.length + text.length);
    new DataView(data.buffer).setUint32(0, name.length);
    data.set(name, 4);
    data.set(text, 4 + name.length);
    return data;
  }
  if ('info' in part) {
    const data = withPrefix(2, text.length);
    new DataView(data.buffer).setUint16(0, part.info);
    data.set(text, 2);
    return data;
  }
  if ('contextId' in part) {
    const data = withPrefix(4, text.length);
    new DataView(data.buffer).setUint32(0, part.contextId);
    data.set(text, 4);
    return data;
  }
  return text;
}

function withPrefix(prefixBytes: number, restBytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(prefixBytes + restBytes);
}
