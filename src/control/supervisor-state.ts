/** What the supervisor says of the processes that it keeps. */

import fs from 'node:fs';
import path from 'node:path';

import type { ProcessIdentity } from '../attacher/process-identity.ts';
import { runMarkOf } from '../env/node/run-directory.ts';

/** DIR/run/supervisor.json: what the supervisor says of the processes that it keeps. */
export type SupervisorState = ProcessIdentity & {
  /** Of the directory that it is written to ({@link runMarkOf}). */
  readonly runMark?: number;
  readonly startedAt: string;
  readonly processes: Readonly<
    Record<
      string,
      {
        readonly pid: number | null;
        readonly startedAt: string | null;
        readonly restarts: number;
        /** How the one before ended, in words; null: there was none. */
        readonly lastExit?: string | null;
      }
    >
  >;
  /** What it swept at its start, and what it could not. */
  readonly notes: readonly string[];
};

/** The supervisor's own account, or undefined where none was written yet, or it is that of another installation, of which this is a copy. */
export function readSupervisor(runDirectory: string): SupervisorState | undefined {
  try {
    const text = fs.readFileSync(path.join(runDirectory, 'supervisor.json'), 'utf8');
    const state = JSON.parse(text) as SupervisorState;
    return (state.runMark ?? runMarkOf(runDirectory)) === runMarkOf(runDirectory)
      ? state
      : undefined;
  } catch {
    return undefined;
  }
}
