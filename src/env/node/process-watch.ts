/** What a process knows of itself for metrics: CPU, memory, pauses of its garbage collector, and how late its loop is. */

import { PerformanceObserver } from 'node:perf_hooks';
import process from 'node:process';

import { type Durations, Histogram } from '../../lib/histogram.ts';

/** An idle process wakes once a second at most. */
export const LOOP_LOOK_MS = 1000;

export type ProcessStats = {
  readonly pid: number;
  readonly uptimeMs: number;
  readonly memory: NodeJS.MemoryUsage;
  readonly cpuUs: NodeJS.CpuUsage;
  /** How late a timer was, asked once a second. */
  readonly loopDelay: Durations;
  readonly gcPause: Durations;
};

export class ProcessWatch {
  readonly #startMs = performance.now();
  readonly #loopDelay = new Histogram();
  readonly #gcPause = new Histogram();

  /** `start` calls its function each {@link LOOP_LOOK_MS} by the loop that is watched, and says how late in µs it did. */
  constructor(start: (onTick: (lateUs: number) => void) => void) {
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) this.#gcPause.add(duration * 1000);
    }).observe({ entryTypes: ['gc'] });
    start((lateUs) => this.#loopDelay.add(Math.max(0, lateUs)));
  }

  stats(): ProcessStats {
    return {
      pid: process.pid,
      uptimeMs: Math.round(performance.now() - this.#startMs),
      memory: process.memoryUsage(),
      cpuUs: process.cpuUsage(),
      loopDelay: this.#loopDelay.durations(),
      gcPause: this.#gcPause.durations(),
    };
  }
}

/** By Node's own timers. */
export function everySecond(onTick: (lateUs: number) => void): void {
  let dueMs = performance.now() + LOOP_LOOK_MS;
  setInterval(() => {
    const nowMs = performance.now();
    onTick((nowMs - dueMs) * 1000);
    dueMs = nowMs + LOOP_LOOK_MS;
  }, LOOP_LOOK_MS).unref();
}
