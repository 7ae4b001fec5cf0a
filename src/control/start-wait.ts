/**
 * What control waits for before it serves: the cluster store does not answer, or refuses it. It tries again until that is over, and says
 * why in DIR/run/control-waits.json, since there is no API yet that could be asked.
 */

import fs from 'node:fs';
import path from 'node:path';

import { type ProcessIdentity, identify, isAlive } from '../attacher/process-identity.ts';
import { runMarkOf } from '../env/node/run-directory.ts';
import { Fault, Refusal, isErrorCode } from '../model/errors.ts';
import type { Log } from '../model/log.ts';
import { replaceFile } from './installation.ts';

/** An etcd that is silent is asked for 8 s each time; one that refuses does so at once. */
const AGAIN_MS = 2000;

type Wait = ProcessIdentity & {
  readonly runMark: number;
  readonly code: string;
  readonly details: Readonly<Record<string, string | number>>;
};

export type StartWaitOptions = {
  readonly runDirectory: string;
  readonly log: Log;
  readonly sleep: (ms: number) => Promise<unknown>;
};

/** Resolves with what `open` opens. Refusals and faults are waited out; any other error is thrown. */
export async function openWhenReady<Opened>(
  open: () => Promise<Opened>,
  { runDirectory, log, sleep }: StartWaitOptions,
): Promise<Opened> {
  const file = fileIn(runDirectory);
  for (let said: string | undefined; ;) {
    try {
      const opened = await open();
      fs.rmSync(file, { force: true });
      return opened;
    } catch (error) {
      if (!isNamed(error)) throw error;
      const { code, details, message: problem } = error;
      // Endpoints fail in turn, each with words of its own.
      if (code !== said) log('control.waiting', { code, problem });
      said = code;
      const wait = { ...identify(process.pid), runMark: runMarkOf(runDirectory), code, details };
      replaceFile(file, JSON.stringify(wait));
    }
    await sleep(AGAIN_MS);
  }
}

/** Whether `error` says by its code what is wrong. */
export const isNamed = (error: unknown): error is Refusal | Fault =>
  error instanceof Refusal || error instanceof Fault;

/** Why the control that runs does not serve yet; undefined where none waits. */
export function readStartWait(runDirectory: string): Refusal | undefined {
  try {
    const wait = JSON.parse(fs.readFileSync(fileIn(runDirectory), 'utf8')) as Wait;
    const isOurs = wait.runMark === runMarkOf(runDirectory) && isAlive(wait);
    return isOurs && isErrorCode(wait.code) ? new Refusal(wait.code, wait.details) : undefined;
  } catch {
    return undefined;
  }
}

const fileIn = (runDirectory: string): string => path.join(runDirectory, 'control-waits.json');
