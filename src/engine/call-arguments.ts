/** Checks the arguments of control calls, where they enter. Each throws INPUT_INVALID. */

import { Refusal } from '../model/errors.ts';
import { socketAddressOf } from '../env/tcp-address.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import type { PeerAddress } from './peers/peers.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const HEX_32 = /^[0-9a-f]{32}$/;
const DRIVE_ID = /^[A-Za-z0-9_.-]{1,64}$/;
const PATH_BYTES_MAX = 4095;
/** Nodes of a cluster: with 150 bytes each they fit a line. */
const NODE_COUNT_MAX = 400;
/** Epochs are 32-bit numbers on the drive. */
const EPOCH_LIMIT = 2 ** 32;

/** A volume's id, as drives keep it: 32 hexadecimal digits. Dashes are taken out. */
export function volumeUuid(args: JsonObject): string {
  const text = string(args, 'uuid');
  if (UUID.test(text)) return text.replaceAll('-', '');
  if (HEX_32.test(text)) return text;
  throw invalid('"uuid" is a UUID in lower case');
}

/** As many volumes as one answer tells of: with 400 bytes each they fit a line of 64 KiB. */
export const LIST_COUNT_MAX = 128;

/** The argument `uuids`: at most {@link LIST_COUNT_MAX}. */
export function volumeUuids(args: JsonObject): ReadonlySet<string> {
  const list: unknown = args['uuids'];
  if (!Array.isArray(list) || list.length > LIST_COUNT_MAX) {
    throw invalid(`"uuids" is a list of at most ${LIST_COUNT_MAX}`);
  }
  return new Set(list.map((uuid: unknown) => volumeUuid({ uuid })));
}

/** The argument `attachId`. Throws `INPUT_INVALID`, as all of these do. */
export function attachIdOf(args: JsonObject): string {
  const text = string(args, 'attachId');
  if (!HEX_32.test(text)) throw invalid('"attachId" is 32 hexadecimal digits in lower case');
  return text;
}

/** The argument `driveId`. */
export function driveIdOf(args: JsonObject): string {
  const text = string(args, 'driveId');
  if (!DRIVE_ID.test(text)) throw invalid('"driveId" is 1 to 64 letters, digits, "_", "." or "-"');
  return text;
}

/** The argument `path`, absolute. */
export function pathOf(args: JsonObject): string {
  const text = string(args, 'path');
  if (!text.startsWith('/') || text.includes('\0') || text.length > PATH_BYTES_MAX) {
    throw invalid('"path" is an absolute path');
  }
  return text;
}

/** A size in bytes, at least 1. */
export function sizeBytesOf(args: JsonObject): number {
  const value = args['sizeBytes'];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1) {
    throw invalid('"sizeBytes" is a whole number of bytes');
  }
  return value;
}

/** The argument `generation` of a drive, 0 without it. */
export function generationOf({ generation = 0 }: JsonObject): number {
  if (typeof generation === 'number' && Number.isInteger(generation) && generation >= 0)
    return generation;
  throw invalid('"generation" is a whole number');
}

/** The argument `epoch`. */
export function epochOf(args: JsonObject): number {
  const value = args['epoch'];
  if (
    typeof value !== 'number' ||
    !Number.isSafeInteger(value) ||
    value < 0 ||
    value >= EPOCH_LIMIT
  ) {
    throw invalid('"epoch" is a whole number below 2^32');
  }
  return value;
}

/** A switch that is off where it is not given. */
export function flagOf(args: JsonObject, name: string): boolean {
  const value = args[name] ?? false;
  if (typeof value !== 'boolean') throw invalid(`"${name}" is true or false`);
  return value;
}

/** The argument `nodes`: at most {@link NODE_COUNT_MAX}. */
export function peersOf({ nodes }: JsonObject): readonly PeerAddress[] {
  if (!Array.isArray(nodes) || nodes.length > NODE_COUNT_MAX) {
    throw invalid(`"nodes" is a list of at most ${NODE_COUNT_MAX}`);
  }
  return nodes.map((each: unknown) => {
    const fields: JsonObject = typeof each === 'object' && each !== null ? { ...each } : {};
    const [node, host] = [string(fields, 'node'), string(fields, 'host')];
    const { port } = fields;
    if (typeof port !== 'number' || socketAddressOf({ host, port }) === undefined) {
      throw invalid(`"${host}:${String(port)}" of node "${node}" is no address`);
    }
    return { node, host, port };
  });
}

function string(args: JsonObject, name: string): string {
  const value = args[name];
  if (typeof value !== 'string') throw invalid(`"${name}" is a string`);
  return value;
}

function invalid(problem: string): Refusal {
  return new Refusal('INPUT_INVALID', { problem });
}
