/** Kills a server under a verifying load, again and again, and measures how long each death stalls the client. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Prng } from '../../src/lib/prng.ts';
import type { Mismatch } from './sector-model.ts';
import { type LoadCounts, VerifyingLoad } from './verifying-load.ts';

/** Something that serves a volume over NBD and can be killed without warning. */
export type Killable = {
  readonly volumeBytes: number;
  uri(): Promise<string>;
  /** SIGKILL, now. Whoever restarts it is part of it. */
  kill(): Promise<void>;
};

export type KillOptions = {
  readonly random: Prng;
  readonly killCount: number;
  readonly depth: number;
  /** The load runs at most this long between two kills. */
  readonly uptimeMsMax: number;
  readonly reconnectLimitMs: number;
  readonly onProgress?: (line: string) => void;
};

export type KillReport = {
  readonly killCount: number;
  readonly mismatches: readonly Mismatch[];
  /** From each SIGKILL to the first reply of the next engine. */
  readonly recoveryMs: readonly number[];
  readonly counts: LoadCounts;
};

/** One kill in four falls into the start of the load, when the engine has just recovered. */
const EARLY_KILL_MS = 20;

export async function runKills(server: Killable, options: KillOptions): Promise<KillReport> {
  const { random } = options;
  const load = new VerifyingLoad({
    random,
    run: random.next(),
    uri: async () => await server.uri(),
    volumeBytes: server.volumeBytes,
    depth: options.depth,
    reconnectLimitMs: options.reconnectLimitMs,
  });
  // Volumes start with zeros. A load on anything else would report nonsense.
  await load.verifyAll();
  const recoveryMs: number[] = [];
  for (let kill = 0; kill < options.killCount && load.mismatches.length === 0; kill++) {
    const limitMs = random.below(4) === 0 ? EARLY_KILL_MS : options.uptimeMsMax;
    const running = load.run();
    await sleep(1 + random.below(limitMs));
    const killedAtMs = performance.now();
    const servedBefore = load.servedAgainAtMs.length;
    await server.kill();
    // What the load did not notice by itself (nothing was in flight), the verification will.
    while (load.servedAgainAtMs.length === servedBefore && (await isPending(running)))
      await sleep(1);
    load.stop();
    await running;
    await load.verifyAll();
    const servedAtMs = load.servedAgainAtMs[servedBefore];
    if (servedAtMs !== undefined) recoveryMs.push(servedAtMs - killedAtMs);
    options.onProgress?.(
      `kill ${kill + 1}/${options.killCount}: served again after ${Math.round(recoveryMs.at(-1) ?? 0)} ms, ` +
        `${load.counts.writes} writes so far, ${load.mismatches.length} mismatches`,
    );
  }
  await load.close();
  return {
    killCount: options.killCount,
    mismatches: load.mismatches,
    recoveryMs,
    counts: load.counts,
  };
}

async function isPending(promise: Promise<void>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, Promise.resolve(pending)])) === pending;
}
