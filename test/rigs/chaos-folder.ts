/** Where `chaos:nodes` and `chaos:idle-neighbours` make their folders. */

import { globSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { sweepEarlierTests } from './control-rig.ts';
import { DATABASE_FOLDER } from './database-volume.ts';

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url));

/** From now on temporary folders of this process are made in `folder`, by default .holdfast/chaos, which is rid of what killed runs left. */
export async function openRigDirectory(
  folder: string = join(REPOSITORY, '.holdfast', 'chaos'),
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  process.env['TMPDIR'] = folder;
  await sweepEarlierTests();
  for (const left of globSync(join(folder, `${DATABASE_FOLDER}*`)))
    rmSync(left, { recursive: true });
}
