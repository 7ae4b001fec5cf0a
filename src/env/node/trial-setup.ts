/** Real Envs for the compliance suites: a fresh folder under the system's temporary one for each. For tests only. */

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';

import type { MakeTrialSetup } from '../io-trial.ts';
import { type EnvOptions, openEnv } from './open-env.ts';

/** What the rings of one suite take; Debian lets a user lock 8 MiB. */
const RINGS_BYTES = 64 * 2 ** 20;
/** capabilities(7): CAP_IPC_LOCK, for which there is no limit. */
const CAP_IPC_LOCK = 14n;

/** Why a suite with a ring for each test, none of which ends before its process, cannot run here; false where it can. */
export function ringsProblem(): string | false {
  if (process.platform !== 'linux') return false;
  const [, effective = '0'] =
    /^CapEff:\s*([0-9a-f]+)/m.exec(fs.readFileSync('/proc/self/status', 'utf8')) ?? [];
  if (((BigInt(`0x${effective}`) >> CAP_IPC_LOCK) & 1n) === 1n) return false;
  const [, soft] =
    /^Max locked memory\s+(\S+)/m.exec(fs.readFileSync('/proc/self/limits', 'utf8')) ?? [];
  if (soft === 'unlimited' || Number(soft) >= RINGS_BYTES) return false;
  return `io_uring counts as locked memory, of which ${soft} bytes are too few (ulimit -l)`;
}

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
