/** The use cases of control as requests, for tests that kill it in them. */

import fs from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';

import { readMounts } from '../../src/attacher/mount-table.ts';
import type { SettingsView, TrashedView, VolumeView } from '../../src/control/schemas.ts';
import type { ControlRig } from './control-rig.ts';
import { driveCases, foreignFile } from './drive-cases.ts';
import { PluginClient } from './plugin-client.ts';

const MIB = 2 ** 20;
/** mkfs.xfs refuses less than 300 MB. */
const VOLUME_BYTES = 320 * MIB;
const LARGER_BYTES = 640 * MIB;
const TRASHED = 3;

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

const create = ({ api }: ControlRig, key?: string): Promise<VolumeView> =>
  api.post<VolumeView>('/v1/volumes', { name: 'v', sizeBytes: VOLUME_BYTES }, key);
const attach = ({ api }: ControlRig, as: 'nbd' | 'device', key?: string): Promise<VolumeView> =>
  api.put<VolumeView>('/v1/volumes/v/attachment', { as }, key);
const mount = ({ api }: ControlRig, fsType: string, key?: string): Promise<VolumeView> =>
  api.put<VolumeView>('/v1/volumes/v/mount', { fs: fsType }, key);

async function volumeOf({ api }: ControlRig): Promise<VolumeView | undefined> {
  return (await api.get<VolumeView[]>('/v1/volumes')).find(({ name }) => name === 'v');
}

function trashOf({ api }: ControlRig): Promise<TrashedView[]> {
  return api.get<TrashedView[]>('/v1/trash');
}

async function isGone(rig: ControlRig): Promise<boolean> {
  return (await volumeOf(rig)) === undefined && (await trashOf(rig)).length === 0;
}

/** A file that stands on the volume as long as it is mounted. */
const folder = (rig: ControlRig): string => path.join(rig.installation.directory, 'mnt', 'v');
const witness = (rig: ControlRig): string => path.join(folder(rig), 'witness');

async function mountWithWitness(rig: ControlRig, fsType: string): Promise<void> {
  await create(rig);
  await mount(rig, fsType);
  fs.writeFileSync(witness(rig), 'kept', { flush: true });
}

const unmountedWithWitness = (rig: ControlRig, fsType: string): Promise<unknown> =>
  mountWithWitness(rig, fsType).then(() => rig.api.delete('/v1/volumes/v/mount'));

const hasWitness = (rig: ControlRig): boolean =>
  fs.existsSync(witness(rig)) && fs.readFileSync(witness(rig), 'utf8') === 'kept';

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
  return [...mountCases(fsType), ...pluginCases(fsType)];
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

const plugin = (rig: ControlRig): PluginClient =>
  new PluginClient(path.join(rig.pluginDirectory, 'holdfast.sock'));
const mountFor = (rig: ControlRig, id: string): Promise<unknown> =>
  plugin(rig).call('Mount', { Name: 'v', ID: id });
const holders = async (rig: ControlRig): Promise<string> =>
  String((await volumeOf(rig))?.mount?.holders);

/** What container engines ask. */
function pluginCases(fsType: string): UseCase[] {
  const enable = ({ api }: ControlRig): Promise<unknown> =>
    api.put('/v1/docker-plugins/holdfast', {});
  const made = async (rig: ControlRig): Promise<void> => {
    await enable(rig);
    const Opts = { size: String(VOLUME_BYTES), fs: fsType };
    await plugin(rig).call('Create', { Name: 'v', Opts });
  };
  const mountedFor = async (rig: ControlRig, ...ids: readonly string[]): Promise<void> => {
    await made(rig);
    for (const id of ids) await mountFor(rig, id);
    fs.writeFileSync(witness(rig), 'kept', { flush: true });
  };
  const cases: Omit<UseCase, 'needsDevice'>[] = [
    {
      name: 'plugin mount, the first',
      prepare: made,
      act: (rig) => mountFor(rig, '1'),
      isAsked: async (rig) =>
        (await holders(rig)) === 'holdfast/1' && readMounts().some((at) => at.path === folder(rig)),
    },
    {
      name: 'plugin mount, another',
      prepare: (rig) => mountedFor(rig, '1'),
      act: (rig) => mountFor(rig, '2'),
      isAsked: async (rig) => (await holders(rig)) === 'holdfast/1,holdfast/2' && hasWitness(rig),
    },
    {
      name: 'plugin unmount, not the last',
      prepare: (rig) => mountedFor(rig, '1', '2'),
      act: (rig) => plugin(rig).call('Unmount', { Name: 'v', ID: '1' }),
      isAsked: async (rig) => (await holders(rig)) === 'holdfast/2' && hasWitness(rig),
    },
    {
      name: 'plugin unmount, the last',
      prepare: (rig) => mountedFor(rig, '1'),
      act: (rig) => plugin(rig).call('Unmount', { Name: 'v', ID: '1' }),
      isAsked: async (rig) => {
        const volume = await volumeOf(rig);
        return volume?.mount === null && volume.attachment === null;
      },
    },
  ];
  return [
    {
      name: 'plugin create',
      needsDevice: false,
      prepare: enable,
      act: made,
      isAsked: async (rig) => (await volumeOf(rig))?.sizeBytes === VOLUME_BYTES,
    },
    {
      name: 'plugin remove',
      needsDevice: false,
      prepare: made,
      act: (rig) => plugin(rig).call('Remove', { Name: 'v' }),
      isAsked: async (rig) => (await volumeOf(rig)) === undefined,
    },
    ...cases.map((each) => Object.assign(each, { needsDevice: true })),
  ];
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
