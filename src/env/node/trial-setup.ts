/** Real Envs for the compliance suites: a fresh folder under the system's temporary one for each. For tests only. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import type { MakeTrialSetup } from '../io-trial.ts';
import { type EnvOptions, openEnv } from './open-env.ts';

/** Setups with the given maker of Io. */
export function realSetups(options: EnvOptions): MakeTrialSetup {
  return async () => {
    const folder = await fs.promises.mkdtemp(path.join(os.tmpdir(), 'hf-'));
    return {
      env: openEnv(options),
      path: (name) => path.join(folder, name),
      cleanUp: () => fs.promises.rm(folder, { recursive: true }),
    };
  };
}
