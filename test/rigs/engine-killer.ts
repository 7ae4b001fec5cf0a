/** Finds an installation's engine in /proc and kills it: faster than asking the CLI, so that recovery too can be hit. */

import { readFileSync } from 'node:fs';
import type { Installation } from '../../bench/lib/installation.ts';
import { processTree, waitFor } from '../../bench/lib/processes.ts';

export class EngineKiller {
  readonly #supervisorPid: number;
  #killCount = 0;

  constructor(supervisorPid: number) {
    this.#supervisorPid = supervisorPid;
  }

  static async of(installation: Installation): Promise<EngineKiller> {
    return new EngineKiller((await installation.status()).supervisorPid);
  }

  get killCount(): number {
    return this.#killCount;
  }

  /** The living engine below the supervisor, or undefined between two lives. */
  enginePid(): number | undefined {
    return processTree(this.#supervisorPid).find(
      (pid) => pid !== this.#supervisorPid && isEngine(pid),
    );
  }

  /** SIGKILL. Waits for an engine to be there if the last one is dead and the next not yet started. */
  async kill(): Promise<number> {
    let pid = this.enginePid();
    await waitFor('there is an engine to kill', () => (pid = this.enginePid()) !== undefined, {
      timeoutMs: 10_000,
      everyMs: 5,
    });
    if (pid === undefined) throw new Error('No engine');
    process.kill(pid, 'SIGKILL');
    this.#killCount++;
    return pid;
  }
}

function isEngine(pid: number): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0');
    const main = words.findIndex((word) => word.endsWith('src/main.ts'));
    return main >= 0 && words[main + 1] === 'engine';
  } catch {
    return false;
  }
}
