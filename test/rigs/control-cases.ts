/** The use cases of control as requests, for tests that kill it in them. */

import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import type { SettingsView, TrashedView, VolumeView } from '../../src/control/schemas.ts';
import type { ControlRig } from './control-rig.ts';
import { driveCases, foreignFile } from './drive-cases.ts';
import { mountFor, pluginCases } from './plugin-cases.ts';
import { MIB, VOLUME_BYTES, type UseCase, hasWitness, volumeOf, witness } from './use-case.ts';

const LARGER_BYTES = 640 * MIB;
const TRASHED = 3;

const create = ({ api }: ControlRig, key?: string): Promise<VolumeView> =>
  api.post<VolumeView>('/v1/volumes', { name: 'v', sizeBytes: VOLUME_BYTES }, key);
const attach = ({ api }: ControlRig, as: 'nbd' | 'device', key?: string): Promise<VolumeView> =>
  api.put<VolumeView>('/v1/volumes/v/attachment', { as }, key);
const mount = ({ api }: ControlRig, fsType: string, key?: string): Promise<VolumeView> =>
  api.put<VolumeView>('/v1/volumes/v/mount', { fs: fsType }, key);

function trashOf({ api }: ControlRig): Promise<TrashedView[]> {
  return api.get<TrashedView[]>('/v1/trash');
}

async function isGone(rig: ControlRig): Promise<boolean> {
  return (await volumeOf(rig)) === undefined && (await trashOf(rig)).length === 0;
}

async function mountWithWitness(rig: ControlRig, fsType: string): Promise<void> {
  await create(rig);
  await mount(rig, fsType);
  fs.writeFileSync(witness(rig), 'kept', { flush: true });
}

const unmountedWithWitness = (rig: ControlRig, fsType: string): Promise<unknown> =>
  mountWithWitness(rig, fsType).then(() => rig.api.delete('/v1/volumes/v/mount'));

/** The use cases, with file systems of one type. */
export function useCases(fsType: 'ext4' | 'xfs'): UseCase[] {
  return [
    settingsCase,
    ...driveCases(),
    ...volumeCases(),
    ...attachCases(),
    ...fileSystemCases(fsType),
  ];
}

/** Those of them in which there is a file system. */
export function fileSystemCases(fsType: 'ext4' | 'xfs'): UseCase[] {
  return [...mountCases(fsType), ...forcedCases(fsType), ...pluginCases(fsType)];
}

const settingsCase: UseCase = {
  name: 'settings set',
  needsDevice: false,
  act: ({ api }, key) => api.patch('/v1/settings', { overprovisionPercent: 900 }, key),
  isAsked: async ({ api }) =>
    (await api.get<SettingsView>('/v1/settings')).overprovisionPercent === 900,
};

function volumeCases(): UseCase[] {
  return [
    {
      name: 'volume create',
      needsDevice: false,
      act: create,
      isAsked: async (rig) => (await volumeOf(rig))?.sizeBytes === VOLUME_BYTES,
    },
    {
      name: 'volume rm',
      needsDevice: false,
      prepare: create,
      act: ({ api }, key) => api.delete('/v1/volumes/v', key),
      isAsked: async (rig) =>
        (await volumeOf(rig)) === undefined && (await trashOf(rig)).length === 1,
    },
    {
      name: 'volume rm --now',
      needsDevice: false,
      prepare: create,
      act: ({ api }, key) => api.delete('/v1/volumes/v?now=true', key),
      isAsked: isGone,
    },
    ...trashCases(),
    ...changeCases(),
  ];
}

/** Of a volume that is attached: its size, and what is said of it. */
function changeCases(): UseCase[] {
  const owner = { tenant: 'umbrella', group: 'lab' };
  const labels = { tier: 'silver' };
  const autoGrow = { stepBytes: VOLUME_BYTES, ceilingBytes: 4 * VOLUME_BYTES };
  const isDescribed = async (rig: ControlRig): Promise<boolean> => {
    const volume = await volumeOf(rig);
    return isDeepStrictEqual(
      [volume?.owner, volume?.labels, volume?.autoGrow],
      [owner, labels, autoGrow],
    );
  };
  const change =
    (wish: object): UseCase['act'] =>
    ({ api }, key) =>
      api.patch('/v1/volumes/v', wish, key);
  const cases = [
    { name: 'volume label', act: change({ owner, labels, autoGrow }), isAsked: isDescribed },
    {
      name: 'volume resize and label',
      act: change({ sizeBytes: LARGER_BYTES, owner, labels, autoGrow }),
      isAsked: async (rig: ControlRig) =>
        (await volumeOf(rig))?.sizeBytes === LARGER_BYTES && (await isDescribed(rig)),
    },
  ];
  const prepare = async ({ api }: ControlRig): Promise<void> => {
    await api.post('/v1/volumes', { name: 'v', sizeBytes: VOLUME_BYTES, labels: { tier: 'gold' } });
    await api.put('/v1/volumes/v/attachment', { as: 'nbd' });
  };
  return cases.map((each) => ({ ...each, needsDevice: false, prepare }));
}

function trashCases(): UseCase[] {
  let id = '';
  const prepare = async (rig: ControlRig): Promise<void> => {
    ({ id } = await create(rig));
    await rig.api.delete('/v1/volumes/v');
  };
  return [
    {
      name: 'trash restore',
      needsDevice: false,
      prepare,
      act: ({ api }, key) => api.post(`/v1/trash/${id}/restore`, {}, key),
      isAsked: async (rig) => (await volumeOf(rig))?.id === id && (await trashOf(rig)).length === 0,
    },
    {
      name: 'trash rm',
      needsDevice: false,
      prepare,
      act: ({ api }, key) => api.delete(`/v1/trash/${id}`, key),
      isAsked: isGone,
    },
    {
      name: 'trash empty',
      needsDevice: false,
      prepare: async (rig) => {
        for (let count = 0; count < TRASHED; count++) await prepare(rig);
      },
      act: ({ api }, key) => api.delete('/v1/trash', key),
      answer: { purged: TRASHED },
      isAsked: isGone,
    },
  ];
}

function attachCases(): UseCase[] {
  return (['nbd', 'device'] as const).flatMap((as) => [
    {
      name: `volume attach as ${as}`,
      needsDevice: as === 'device',
      prepare: create,
      act: (rig: ControlRig, key?: string) => attach(rig, as, key),
      isAsked: async (rig: ControlRig) => {
        const volume = await volumeOf(rig);
        return volume?.attachment?.as === as && volume.attachment.state === 'attached';
      },
    },
    {
      name: `volume detach from ${as}`,
      needsDevice: as === 'device',
      prepare: async (rig: ControlRig) => {
        await create(rig);
        await attach(rig, as);
      },
      act: ({ api }: ControlRig, key?: string) => api.delete('/v1/volumes/v/attachment', key),
      isAsked: async (rig: ControlRig) => (await volumeOf(rig))?.attachment === null,
    },
  ]);
}

/** What is taken away from whoever has it. */
function forcedCases(fsType: 'ext4' | 'xfs'): UseCase[] {
  const cases = [
    {
      name: 'volume unmount, by force',
      prepare: async (rig) => {
        await mountWithWitness(rig, fsType);
        await rig.api.put('/v1/docker-plugins/holdfast', {});
        await mountFor(rig, 'gone');
      },
      act: ({ api }, key) => api.delete('/v1/volumes/v/mount?force=true', key),
      isAsked: async (rig) => {
        const volume = await volumeOf(rig);
        return volume?.mount === null && volume.attachment === null;
      },
    },
    {
      name: 'volume detach, by force',
      prepare: (rig) => create(rig).then(() => attach(rig, 'device')),
      act: ({ api }, key) => api.delete('/v1/volumes/v/attachment?force=true', key),
      isAsked: async (rig) => (await volumeOf(rig))?.attachment === null,
    },
  ] satisfies Omit<UseCase, 'needsDevice'>[];
  return cases.map((each) => ({ ...each, needsDevice: true }));
}

function mountCases(fsType: 'ext4' | 'xfs'): UseCase[] {
  const prepare = (rig: ControlRig): Promise<void> => mountWithWitness(rig, fsType);
  const cases: Omit<UseCase, 'needsDevice'>[] = [
    {
      name: 'volume mount',
      prepare: create,
      act: (rig, key) => mount(rig, fsType, key),
      isAsked: async (rig) => (await volumeOf(rig))?.mount?.state === 'mounted',
    },
    {
      name: 'volume mount, refused',
      prepare: (rig) => unmountedWithWitness(rig, fsType),
      act: (rig, key) => mount(rig, fsType === 'ext4' ? 'xfs' : 'ext4', key),
      refusal: 'MOUNT_FOREIGN',
      isAsked: async (rig) => {
        const isAtRest = (await volumeOf(rig))?.attachment === null;
        await mount(rig, fsType);
        const isKept = hasWitness(rig);
        await rig.api.delete('/v1/volumes/v/mount');
        return isAtRest && isKept;
      },
    },
    {
      name: 'volume mount --force',
      prepare: (rig) => unmountedWithWitness(rig, fsType),
      act: ({ api }, key) => api.put('/v1/volumes/v/mount', { fs: fsType, force: true }, key),
      isAsked: async (rig) =>
        (await volumeOf(rig))?.mount?.state === 'mounted' && !fs.existsSync(witness(rig)),
    },
    {
      name: 'volume unmount',
      prepare,
      act: ({ api }, key) => api.delete('/v1/volumes/v/mount', key),
      isAsked: async (rig) => {
        const volume = await volumeOf(rig);
        return volume?.mount === null && volume.attachment === null;
      },
    },
    {
      name: 'volume trim',
      prepare,
      act: ({ api }, key) => api.post('/v1/volumes/v/trim', {}, key),
      isUntold: true,
      isAsked: async (rig) => hasWitness(rig),
    },
    {
      name: 'volume resize while mounted',
      // A mounted ext4 grows with CAP_SYS_RESOURCE only, which containers lack.
      prepare: (rig) => mountWithWitness(rig, 'xfs'),
      act: ({ api }, key) => api.patch('/v1/volumes/v', { sizeBytes: LARGER_BYTES }, key),
      isAsked: async (rig) => {
        const { bsize, blocks } = fs.statfsSync(path.dirname(witness(rig)));
        const volume = await volumeOf(rig);
        return (
          volume?.sizeBytes === LARGER_BYTES && bsize * blocks > VOLUME_BYTES && hasWitness(rig)
        );
      },
    },
  ];
  return cases.map((each) => Object.assign(each, { needsDevice: true }));
}

/** Takes away whatever the use cases made: the drive `default` alone is left. */
export async function clean(rig: ControlRig): Promise<void> {
  const { api } = rig;
  if ((await volumeOf(rig)) !== undefined) {
    await api.delete('/v1/volumes/v/mount?force=true');
    await api.delete('/v1/volumes/v/attachment');
    await api.delete('/v1/volumes/v?now=true');
  }
  await api.delete('/v1/trash');
  await api.delete('/v1/drives/extra');
  await api.patch('/v1/settings', { overprovisionPercent: 1000 });
  fs.rmSync(foreignFile(rig), { force: true });
}
