/** Arguments of the attacher's calls, checked. Each function throws INPUT_INVALID with what is wrong. */

import { Refusal } from '../model/errors.ts';
import { attachId, volumeId } from '../model/ids.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { type AttachSpec, type DeviceKind, SECTOR_BYTES } from './attached-device.ts';

/** Parses the arguments of `attach`. Throws `INPUT_INVALID`. */
export function parseAttach(args: JsonObject): {
  readonly spec: AttachSpec;
  readonly kind: DeviceKind | undefined;
} {
  const spec = {
    attachId: attachId(text(args, 'attachId')),
    uuid: volumeId(text(args, 'uuid')),
    socketPath: text(args, 'socketPath'),
    sizeBytes: size(args),
  };
  const { kind } = args;
  if (kind !== undefined && kind !== 'kernel-nbd' && kind !== 'fuse-loop') {
    throw invalid('"kind" is "kernel-nbd", "fuse-loop" or left out');
  }
  return { spec, kind };
}

/** Parses the arguments of `detach`. Throws `INPUT_INVALID`. */
export function parseDetach(args: JsonObject): {
  readonly attachId: string;
  readonly force: boolean;
} {
  return { attachId: attachId(text(args, 'attachId')), force: args.force === true };
}

/** Parses the arguments of `resize`. Throws `INPUT_INVALID`. */
export function parseResize(args: JsonObject): {
  readonly attachId: string;
  readonly sizeBytes: number;
} {
  return { attachId: attachId(text(args, 'attachId')), sizeBytes: size(args) };
}

/** Who hands over, and the Node and the program of who takes over. */
export type HandoverWish = { readonly pid: number; readonly node: string; readonly main: string };

/** Parses the arguments of `handover`. Throws `INPUT_INVALID`. */
export function parseHandover(args: JsonObject): HandoverWish {
  const { pid } = args;
  if (typeof pid !== 'number') throw invalid('"pid" is a number');
  return { pid, node: text(args, 'node'), main: text(args, 'main') };
}

function text(args: JsonObject, name: string): string {
  const value = args[name];
  if (typeof value !== 'string' || value === '') throw invalid(`"${name}" is a string`);
  return value;
}

function size(args: JsonObject): number {
  const { sizeBytes } = args;
  const whole = typeof sizeBytes === 'number' && Number.isSafeInteger(sizeBytes);
  if (!whole || sizeBytes <= 0 || sizeBytes % SECTOR_BYTES !== 0) {
    throw invalid(`"sizeBytes" is a positive multiple of ${SECTOR_BYTES}`);
  }
  return sizeBytes;
}

function invalid(problem: string): Refusal {
  return new Refusal('INPUT_INVALID', { problem });
}
