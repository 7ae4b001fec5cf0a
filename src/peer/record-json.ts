/** A volume's record in the bodies of `open` and `record`: JSON, checked field by field when it comes from the other end. */

import type { Attachment, HeadId, Record } from '../replication/record.ts';

type Fields = { readonly [name: string]: unknown };

/** The body of `open` (with its head) and `record`, and of an answer that refuses. */
export type RecordBody = { readonly record: Record; readonly head: HeadId | undefined };

/** The text of a body. */
export function formatRecord({ record, head }: RecordBody): string {
  return JSON.stringify({ record: recordJson(record), head });
}

/** A record as JSON has it. */
export function recordJson(record: Record): Fields {
  return { ...record, members: [...record.members] };
}

/** The record that {@link recordJson} has formed. Anything else is a bug of whoever kept it. */
export function recordOfJson(json: unknown): Record {
  return recordOf(fieldsOf(json));
}

/** The body in `text`; undefined: it is none. What is not known is left out. */
export function parseRecord(text: string): RecordBody | undefined {
  try {
    const { record, head } = fieldsOf(JSON.parse(text));
    return { record: recordOf(fieldsOf(record)), head: optional(head, headOf) };
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

class Malformed extends Error {}

function recordOf(fields: Fields): Record {
  const { members } = fields;
  if (!Array.isArray(members)) throw new Malformed();
  return {
    lineage: numberOf(fields['lineage']),
    epoch: numberOf(fields['epoch']),
    writer: textOf(fields['writer']),
    head: optional(fields['head'], headOf),
    attachment: optional(fields['attachment'], attachmentOf),
    members: new Map(members.map(memberOf)),
    minimum: numberOf(fields['minimum']),
    sizeBytes: numberOf(fields['sizeBytes']),
  };
}

function memberOf(member: unknown): [string, number] {
  if (!Array.isArray(member) || member.length !== 2) throw new Malformed();
  return [textOf(member[0]), numberOf(member[1])];
}

function headOf(value: unknown): HeadId {
  const { engine, start, attempt } = fieldsOf(value);
  return { engine: textOf(engine), start: numberOf(start), attempt: numberOf(attempt) };
}

function attachmentOf(value: unknown): Attachment {
  const { attachId, boot } = fieldsOf(value);
  return { attachId: textOf(attachId), boot: textOf(boot) };
}

function optional<T>(value: unknown, of: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : of(value);
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Malformed();
  return { ...value };
}

function numberOf(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Malformed();
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new Malformed();
  return value;
}
