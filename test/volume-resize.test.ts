/** A volume grows while its file system is mounted: the file system follows at once, or at the next mount where the kernel wants more rights. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { VolumeView } from '../src/control/schemas.ts';
import { whyNot } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { hasSysResource, sizeOfMounted } from './rigs/grown-size.ts';

const BEFORE_BYTES = 64 * 2 ** 20;
const AFTER_BYTES = 128 * 2 ** 20;
const rig = new CliRig();

before(async () => {
  await rig.up();
});

after(() => rig.close());

async function viewOf(...words: string[]): Promise<VolumeView> {
  // The CLI prints views.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (await rig.json('volume', ...words)) as unknown as VolumeView;
}

for (const fsType of ['ext4', 'xfs']) {
  const skip = whyNot(`mkfs.${fsType}`);
  // xfs grows for root, whatever else root may not do.
  const atOnce = fsType === 'xfs' || hasSysResource();
  test(
    `a mounted ${fsType} grows with its volume`,
    skip === undefined ? {} : { skip },
    async () => {
      const large = fsType === 'xfs' ? 8 : 1;
      await viewOf('create', fsType, '--size', String(large * BEFORE_BYTES));
      const { mount } = await viewOf('mount', fsType, '--fs', fsType);
      assert.equal(mount?.growsAtNextMount, false);
      const at = mount.path;
      fs.writeFileSync(path.join(at, 'witness'), 'was here');
      const was = sizeOfMounted(at);
      const size = String(large * AFTER_BYTES);

      const resized = await viewOf('resize', fsType, '--size', size);
      assert.equal(resized.sizeBytes, Number(size));
      assert.equal(resized.mount?.growsAtNextMount, !atOnce);
      assert.equal(sizeOfMounted(at) > was, atOnce);
      const again = await rig.run(['volume', 'resize', fsType, '--size', size]);
      assert.equal(again.code, 0);
      if (!atOnce) assert.match(again.out, /grows at the next mount.*volume unmount ext4/);

      await viewOf('unmount', fsType);
      const mounted = await viewOf('mount', fsType, '--fs', fsType);
      assert.equal(mounted.mount?.growsAtNextMount, false);
      assert.ok(sizeOfMounted(at) > was);
      assert.equal(fs.readFileSync(path.join(at, 'witness'), 'utf8'), 'was here');
      await viewOf('unmount', fsType);
    },
  );
}
