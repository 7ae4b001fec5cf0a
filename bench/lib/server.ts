/** A system under test: something that serves one volume to fio. Each rig starts its servers itself and ends them. */

import type { Target } from './fio.ts';

export type Server = {
  readonly name: string;
  /** When a plain write is acknowledged; printed beside every figure, so that like is compared with like. */
  readonly acknowledgedWhen: string;
  /** Version of the outside program, for the results. */
  version(): Promise<string>;
  /** Starts it and returns a volume of `sizeBytes`, its content undefined. */
  start(sizeBytes: number): Promise<Target>;
  /** The processes whose CPU time is the server's. Empty where fio itself does the I/O. */
  pids(): readonly number[];
  /** Ends it and removes its data. Harmless if it never started. */
  stop(): Promise<void>;
};
