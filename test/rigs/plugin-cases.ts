/** What container engines ask of control. */

import fs from 'node:fs';
import path from 'node:path';

import type { ControlRig } from './control-rig.ts';
import { PluginClient } from './plugin-client.ts';
import {
  VOLUME_BYTES,
  type UseCase,
  hasWitness,
  isMounted,
  volumeOf,
  witness,
} from './use-case.ts';

const plugin = (rig: ControlRig): PluginClient =>
  new PluginClient(path.join(rig.pluginDirectory, 'holdfast.sock'));
export const mountFor = (rig: ControlRig, id: string): Promise<unknown> =>
  plugin(rig).call('Mount', { Name: 'v', ID: id });
const holders = async (rig: ControlRig): Promise<string> =>
  String((await volumeOf(rig))?.mount?.holders);

/** What container engines ask. */
export function pluginCases(fsType: string): UseCase[] {
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
      isAsked: async (rig) => (await holders(rig)) === 'holdfast/1' && isMounted(rig),
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
