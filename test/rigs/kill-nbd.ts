/** The kill rig's NBD path: the verifying client straight on the volume's socket. */

import type { Installation } from '../../bench/lib/installation.ts';
import { summarize } from '../../bench/lib/statistics.ts';
import { Prng } from '../../src/lib/prng.ts';
import { EngineKiller } from './engine-killer.ts';
import { runKills } from './kill-rounds.ts';
import type { KillPlan, KillOutcome } from './kill-plan.ts';

const VOLUME = 'kill-nbd';
const VOLUME_BYTES = 128 * 2 ** 20;
const DEPTH = 32;

export async function killUnderNbd(
  installation: Installation,
  plan: KillPlan,
): Promise<KillOutcome> {
  await installation.createVolume(VOLUME, VOLUME_BYTES);
  const uri = await installation.attachNbd(VOLUME);
  const killer = await EngineKiller.of(installation);
  const report = await runKills(
    {
      volumeBytes: VOLUME_BYTES,
      uri: async () => uri,
      kill: async () => void (await killer.kill()),
    },
    {
      random: new Prng(plan.seed),
      killCount: plan.killCount,
      depth: DEPTH,
      uptimeMsMax: plan.uptimeMsMax,
      reconnectLimitMs: plan.recoveryLimitMs,
      onProgress: plan.onProgress,
    },
  );
  const { counts } = report;
  return {
    lost: report.mismatches.map(
      (each) =>
        `sector ${each.sector} holds version ${each.found}, right is ${each.legal.join(' or ')}`,
    ),
    recoveryMs: report.recoveryMs,
    facts: [
      `${counts.writes} writes, ${counts.trims} trims, ${counts.zeroes} zeroes, ${counts.flushes} flushes, ` +
        `${counts.resent} requests sent again, ${counts.sectorsCompared} sectors compared`,
      `served again after ${formatMs(report.recoveryMs)}`,
    ],
  };
}

function formatMs(values: readonly number[]): string {
  const summary = summarize(values);
  return `${Math.round(summary.median)} ms in the median, ${Math.round(summary.max)} ms at most`;
}
