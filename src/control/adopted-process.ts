/** A process that an earlier supervisor started and that still runs. It is no child of ours, so its end is looked for. */

import { EventEmitter } from 'node:events';

import { type ProcessIdentity, identify, isAlive } from '../attacher/process-identity.ts';

/** The kernel tells its end to nobody but its parent. Idle processes of Holdfast wake once a second at most. */
const LOOK_MS = 1000;
/** Once it is told to end, somebody waits for it. */
const LOOK_ENDING_MS = 20;

/** What the supervisor needs of a process, be it a child of its own or an adopted one. */
export type SupervisedProcess = {
  readonly pid?: number | undefined;
  kill(signal: 'SIGTERM' | 'SIGKILL'): boolean;
  once(event: 'exit', listener: () => void): unknown;
};

export class AdoptedProcess extends EventEmitter<{ exit: [] }> implements SupervisedProcess {
  readonly #identity: ProcessIdentity;
  #timer: NodeJS.Timeout | undefined;

  private constructor(identity: ProcessIdentity) {
    super();
    this.#identity = identity;
    this.#look(LOOK_MS);
  }

  /** Undefined where no such process runs any more. */
  static of(pid: number): AdoptedProcess | undefined {
    const identity = identify(pid);
    return identity === undefined ? undefined : new AdoptedProcess(identity);
  }

  get pid(): number {
    return this.#identity.pid;
  }

  /** Sends a signal, unless it has ended: its number may be another's by now. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): boolean {
    if (!isAlive(this.#identity)) return false;
    process.kill(this.#identity.pid, signal);
    this.#look(LOOK_ENDING_MS);
    return true;
  }

  #look(everyMs: number): void {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => {
      if (isAlive(this.#identity)) return;
      clearInterval(this.#timer);
      this.emit('exit');
    }, everyMs);
  }
}
