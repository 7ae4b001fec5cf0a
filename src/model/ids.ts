/** Names and identifiers: branded, and made only by the checking functions here. */

import { Refusal } from './errors.ts';

export type DriveId = string & { readonly __brand: 'DriveId' };
export type VolumeId = string & { readonly __brand: 'VolumeId' };
export type AttachId = string & { readonly __brand: 'AttachId' };
export type OperationId = string & { readonly __brand: 'OperationId' };
export type Epoch = number & { readonly __brand: 'Epoch' };

/** As long as a DNS label; also fits a file name with room for an ending. */
export const NAME_LENGTH_MAX = 63;

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NODE_NAME = /^[a-z0-9-]{1,64}$/;
const HEX_32 = /^[0-9a-f]{32}$/;

/**
 * Checks a name that a user gives to a drive or volume: letters, digits, `_`, `.`, `-`, first a letter or digit, not
 * the shape of an id. These are Docker's rules for volume names. Throws NAME_INVALID.
 */
export function checkName(name: string): string {
  const problem = nameProblem(name);
  if (problem !== undefined) throw new Refusal('NAME_INVALID', { name: shorten(name), problem });
  return name;
}

function nameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.length > NAME_LENGTH_MAX) {
    return `it has ${name.length} characters, and at most ${NAME_LENGTH_MAX} are allowed`;
  }
  if (UUID.test(name) || HEX_32.test(name)) return 'it looks like an id';
  if (!/^[A-Za-z0-9]/.test(name)) return 'it must begin with a letter or a digit';
  if (!NAME.test(name)) return 'only letters, digits, "_", "." and "-" are allowed';
  return undefined;
}

/** Long or unprintable input is not repeated in full in messages. */
function shorten(text: string): string {
  const printable = text.replaceAll(/[^\x20-\x7e]/g, '?');
  return printable.length > 80 ? `${printable.slice(0, 77)}...` : printable;
}

const checked =
  <Id extends string>(isId: (text: string) => text is Id, what: string) =>
  (text: string): Id => {
    if (!isId(text))
      throw new Refusal('INPUT_INVALID', { problem: `"${shorten(text)}" is no ${what}` });
    return text;
  };

/** A UUID in lower case. Throws INPUT_INVALID, as do the next three. */
export const driveId: (text: string) => DriveId = checked(
  (text): text is DriveId => UUID.test(text),
  'drive id',
);
export const volumeId: (text: string) => VolumeId = checked(
  (text): text is VolumeId => UUID.test(text),
  'volume id',
);
export const operationId: (text: string) => OperationId = checked(
  (text): text is OperationId => UUID.test(text),
  'operation id',
);
/** 32 hexadecimal digits in lower case. */
export const attachId: (text: string) => AttachId = checked(
  (text): text is AttachId => HEX_32.test(text),
  'attach id',
);

/** A volume's generation: a whole number from 0. */
export function epoch(value: number): Epoch {
  if (!isEpoch(value)) throw new Refusal('INPUT_INVALID', { problem: `${value} is no epoch` });
  return value;
}

/** Whether a text can name a cluster, or a node of one: 1 to 64 of [a-z0-9-], as in its certificate. */
export const isNodeName = (text: unknown): text is string =>
  typeof text === 'string' && NODE_NAME.test(text);

export const isUuid = (text: string): boolean => UUID.test(text);

const isEpoch = (value: number): value is Epoch => Number.isSafeInteger(value) && value >= 0;

/** An id of 32 hex digits, as drives keep it, as people and records have it. */
export function formatUuid(hex: string): string {
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ];
  return parts.join('-');
}
