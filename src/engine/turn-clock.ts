/**
 * CLOCK_BOOTTIME, read once in a turn, since each reading is a call of some 0.2 us. It may be as old as the turn, but no older than what
 * the turn's completions tell of: so what was granted until later held when a request came that is answered in this turn.
 */

import type { Clock } from '../env/env.ts';
import type { Io } from '../env/io.ts';

export class TurnClock {
  readonly #clock: Pick<Clock, 'bootMs'>;
  readonly #io: Pick<Io, 'turnCount'>;
  #turn = -1;
  #nowMs = 0;

  constructor({
    clock,
    io,
  }: {
    readonly clock: Pick<Clock, 'bootMs'>;
    readonly io: Pick<Io, 'turnCount'>;
  }) {
    this.#clock = clock;
    this.#io = io;
  }

  /** ms. */
  now(): number {
    const turn = this.#io.turnCount;
    if (turn !== this.#turn) {
      this.#turn = turn;
      this.#nowMs = this.#clock.bootMs();
    }
    return this.#nowMs;
  }
}
