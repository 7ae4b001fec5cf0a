/**
 * The protocol of engine.sock and attacher.sock: one JSON object a line, UTF-8, at most 64 KiB with its newline.
 *
 *     request   {"id":7,"call":"volume.create","args":{…}}
 *     progress  {"id":7,"progress":{"doneBytes":1,"totalBytes":9}}     any number of times before the answer
 *     answer    {"id":7,"ok":{…}}  or  {"id":7,"error":{"code":"VOLUME_NOT_FOUND","message":"…","details":{…}}}
 *
 * The first call of a connection is `hello {"protocol":1}`. Every call may be retried: the same call twice is one result.
 */

export const LINE_PROTOCOL_VERSION = 1;
export const LINE_BYTES_MAX: number = 64 * 1024;

const NEWLINE = 10;

export type JsonObject = { readonly [name: string]: unknown };

export type LineRequest = { readonly id: number; readonly call: string; readonly args: JsonObject };

export type LineError = {
  readonly code: string;
  readonly message: string;
  readonly details: JsonObject;
};

export type LineAnswer =
  | { readonly kind: 'ok'; readonly id: number; readonly ok: JsonObject }
  | { readonly kind: 'error'; readonly id: number; readonly error: LineError }
  | {
      readonly kind: 'progress';
      readonly id: number;
      readonly progress: { readonly doneBytes: number; readonly totalBytes: number };
    };

/** What came instead of a message. */
export type LineProblem = { readonly kind: 'problem'; readonly problem: string };

/** Cuts what a connection receives into lines. */
export class LineSplitter {
  #held: Uint8Array = new Uint8Array(0);

  /**
   * Takes what arrived (copied, where it is kept) and returns the lines that are complete, without their newlines. Undefined
   * once a line is longer than {@link LINE_BYTES_MAX}: the connection is then of no more use.
   */
  take(bytes: Uint8Array): string[] | undefined {
    const all = new Uint8Array(this.#held.length + bytes.length);
    all.set(this.#held);
    all.set(bytes, this.#held.length);
    const lines: string[] = [];
    let start = 0;
    for (;;) {
      const end = all.indexOf(NEWLINE, start);
      if (end < 0) break;
      if (end + 1 - start > LINE_BYTES_MAX) return undefined;
      lines.push(new TextDecoder().decode(all.subarray(start, end)));
      start = end + 1;
    }
    this.#held = all.slice(start);
    return this.#held.length >= LINE_BYTES_MAX ? undefined : lines;
  }
}

/** Parses a line that a client sent. */
export function parseLineRequest(line: string): LineRequest | LineProblem {
  const value = parseObject(line);
  if (value === undefined) return problem('a request is one JSON object a line');
  const { id, call, args } = value;
  if (!isId(id)) return problem('"id" is a whole number');
  if (typeof call !== 'string') return problem('"call" is a string');
  if (args !== undefined && !isObject(args)) return problem('"args" is an object');
  return { id, call, args: args ?? {} };
}

/** Parses a line that a server sent. */
export function parseLineAnswer(line: string): LineAnswer | LineProblem {
  const value = parseObject(line);
  if (value === undefined || !isId(value.id)) return problem('an answer is an object with an id');
  const { id, ok, error, progress } = value;
  if (isObject(ok)) return { kind: 'ok', id, ok };
  if (isObject(error)) {
    const { code, message, details } = error;
    return {
      kind: 'error',
      id,
      error: {
        code: typeof code === 'string' ? code : 'INTERNAL',
        message: typeof message === 'string' ? message : '',
        details: isObject(details) ? details : {},
      },
    };
  }
  if (isObject(progress)) {
    const { doneBytes, totalBytes } = progress;
    if (typeof doneBytes === 'number' && typeof totalBytes === 'number') {
      return { kind: 'progress', id, progress: { doneBytes, totalBytes } };
    }
  }
  return problem('an answer has "ok", "error" or "progress"');
}

/** A request as a line. */
export function formatLineRequest(request: LineRequest): string {
  return `${JSON.stringify(request)}\n`;
}

/** A successful answer as a line. */
export function formatLineOk(id: number, ok: JsonObject): string {
  return `${JSON.stringify({ id, ok })}\n`;
}

/** An error as a line. */
export function formatLineError(id: number, error: LineError): string {
  return `${JSON.stringify({ id, error })}\n`;
}

/** Progress before the answer, as a line. */
export function formatLineProgress(
  id: number,
  progress: { readonly doneBytes: number; readonly totalBytes: number },
): string {
  return `${JSON.stringify({ id, progress })}\n`;
}

function problem(text: string): LineProblem {
  return { kind: 'problem', problem: text };
}

function parseObject(line: string): JsonObject | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isObject(value) ? value : undefined;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(id: unknown): id is number {
  return typeof id === 'number' && Number.isSafeInteger(id) && id >= 0;
}
