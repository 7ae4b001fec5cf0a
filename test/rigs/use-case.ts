/** Use cases of control as requests, and the volume `v` that most of them are about. */

import fs from 'node:fs';
import path from 'node:path';

import { readMounts } from '../../src/attacher/mount-table.ts';
import type { VolumeView } from '../../src/control/schemas.ts';
import type { ControlRig } from './control-rig.ts';

export const MIB = 2 ** 20;
/** mkfs.xfs refuses less than 300 MB. */
export const VOLUME_BYTES = 320 * MIB;
export type UseCase = {
  readonly name: string;
  /** It makes a block device, for which not every machine and user is good. */
  readonly needsDevice: boolean;
  /** From a drive `default` and nothing else to where the request can be made. */
  readonly prepare?: (rig: ControlRig) => Promise<unknown>;
  /** The request, with an idempotency key or without one. May be repeated. */
  readonly act: (rig: ControlRig, key?: string) => Promise<unknown>;
  /** What it answers, with its key each time again. */
  readonly answer?: object;
  /** Whether all is as the request wants it. */
  readonly isAsked: (rig: ControlRig) => Promise<boolean>;
  /** Nothing is left to tell whether it came to its end: its operation is said to have failed. */
  readonly isUntold?: boolean;
  /** The code with which the request is refused, where it is one that must be. Then `isAsked` tells that nothing has changed. */
  readonly refusal?: string;
};

export async function volumeOf({ api }: ControlRig): Promise<VolumeView | undefined> {
  return (await api.get<VolumeView[]>('/v1/volumes')).find(({ name }) => name === 'v');
}

/** A file that stands on the volume as long as it is mounted. */
export const folder = (rig: ControlRig): string =>
  path.join(rig.installation.directory, 'mnt', 'v');
export const witness = (rig: ControlRig): string => path.join(folder(rig), 'witness');

export const hasWitness = (rig: ControlRig): boolean =>
  fs.existsSync(witness(rig)) && fs.readFileSync(witness(rig), 'utf8') === 'kept';

export const isMounted = (rig: ControlRig): boolean =>
  readMounts().some((at) => at.path === folder(rig));
