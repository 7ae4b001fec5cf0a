/** The short form of `npm run chaos:nodes`: some faults, and a replica that forgets. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { whyNot } from './rigs/attach-rig.ts';
import { type ChaosReport, NodeChaos } from './rigs/node-chaos.ts';
import { Stage, type StageOptions } from './rigs/node-stage.ts';

const skip = whyNot('ip', 'nft', 'tc', 'nsenter', 'unshare');
const options = skip === undefined ? {} : { skip };

async function chaos(
  seconds: number,
  seed: number,
  stageOptions: StageOptions = {},
): Promise<ChaosReport> {
  return await Stage.use(stageOptions, async (stage) => {
    const nodes = await NodeChaos.start(stage, { seed, seconds, onProgress: () => undefined });
    return await nodes.run();
  });
}

test(
  'nodes are killed, stopped and cut off, and nothing acknowledged is lost',
  options,
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const { problems, counts } = await chaos(12, seed);
    assert.deepEqual(problems, [], `seed ${seed}`);
    assert.ok(counts.writes > 100, `too little load to mean anything: ${counts.writes}`);
  },
);

test('canary: a replica that forgets what it took is found', options, async () => {
  const { problems } = await chaos(2, 1, { isCanary: true });
  assert.ok(problems.length > 0);
});
