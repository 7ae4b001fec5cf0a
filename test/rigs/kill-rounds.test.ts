import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Prng } from '../../src/lib/prng.ts';
import { runKills, type KillReport } from './kill-rounds.ts';
import { MemoryNbdServer, type Fault } from './memory-nbd-server.ts';

const VOLUME_BYTES = 8 * 2 ** 20;

async function killMemoryServer(fault: Fault, seed: number): Promise<KillReport> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-kill-'));
  const server = new MemoryNbdServer(join(folder, 'nbd.sock'), { sizeBytes: VOLUME_BYTES, fault });
  await server.start();
  try {
    return await runKills(
      {
        volumeBytes: VOLUME_BYTES,
        uri: async () => server.uri,
        kill: async () => await server.kill(),
      },
      {
        random: new Prng(seed),
        killCount: 6,
        depth: 16,
        uptimeMsMax: 60,
        reconnectLimitMs: 5000,
      },
    );
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

test('the kill rig passes a server that loses nothing acknowledged', async () => {
  const report = await killMemoryServer({ kind: 'none' }, 1);
  assert.deepEqual(report.mismatches, []);
  assert.equal(report.recoveryMs.length, 6);
  assert.ok(
    report.counts.writes > 100,
    `too little load to mean anything: ${report.counts.writes}`,
  );
});

test('canary: the kill rig catches a server that forgets an acknowledged change', async () => {
  const report = await killMemoryServer({ kind: 'forget', changeCount: 20 }, 2);
  assert.ok(report.mismatches.length > 0);
});

test('canary: the kill rig catches a server that writes to the wrong place', async () => {
  const report = await killMemoryServer({ kind: 'misdirect' }, 3);
  assert.ok(report.mismatches.length > 0);
});
