/** The use cases on drives, for tests that kill control in them. */

import fs from 'node:fs';
import path from 'node:path';

import type { DriveView } from '../../src/control/drive-schemas.ts';
import type { UseCase } from './use-case.ts';
import type { ControlRig } from './control-rig.ts';

/** Sparse. */
export const DRIVE_BYTES: number = 2 ** 30;

/** What `clean` of the cases removes. */
export const foreignFile = (rig: ControlRig): string => path.join(rig.directory, 'foreign.img');

async function hasDrive({ api }: ControlRig, name: string): Promise<boolean> {
  return (await api.get<DriveView[]>('/v1/drives')).some((drive) => drive.name === name);
}

/** From a drive `default` on. */
export function driveCases(): UseCase[] {
  const addDrive = ({ api }: ControlRig, key?: string): Promise<unknown> =>
    api.post('/v1/drives', { name: 'extra', sizeBytes: DRIVE_BYTES, sparse: true }, key);
  const addForeign = (rig: ControlRig, key?: string): Promise<unknown> =>
    rig.api.post('/v1/drives', { name: 'extra', path: foreignFile(rig), sparse: true }, key);
  return [
    {
      name: 'drive add',
      needsDevice: false,
      act: addDrive,
      isAsked: (rig) => hasDrive(rig, 'extra'),
    },
    {
      name: 'drive add of an existing file',
      needsDevice: false,
      prepare: async (rig) => {
        fs.writeFileSync(foreignFile(rig), '');
        fs.truncateSync(foreignFile(rig), DRIVE_BYTES);
      },
      act: addForeign,
      isAsked: (rig) => hasDrive(rig, 'extra'),
    },
    {
      name: 'drive add, refused',
      needsDevice: false,
      prepare: async (rig) => {
        fs.writeFileSync(foreignFile(rig), Buffer.alloc(512).fill('LUKS\xba\xbe', 0, 6, 'latin1'));
        fs.truncateSync(foreignFile(rig), DRIVE_BYTES);
      },
      act: addForeign,
      refusal: 'DRIVE_SIGNATURE',
      isAsked: async (rig) => !(await hasDrive(rig, 'extra')) && fs.existsSync(foreignFile(rig)),
    },
    {
      name: 'drive grow',
      needsDevice: false,
      prepare: addDrive,
      act: ({ api }, key) => api.patch('/v1/drives/extra', { sizeBytes: 2 * DRIVE_BYTES }, key),
      isAsked: async ({ api }) =>
        (await api.get<DriveView>('/v1/drives/extra')).sizeBytes === 2 * DRIVE_BYTES,
    },
    {
      name: 'drive rm',
      needsDevice: false,
      prepare: addDrive,
      act: ({ api }, key) => api.delete('/v1/drives/extra', key),
      isAsked: async (rig) => !(await hasDrive(rig, 'extra')),
    },
  ];
}
