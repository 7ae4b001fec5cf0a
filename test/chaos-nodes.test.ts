/** The short form of `npm run chaos:nodes`, whose canary is `npm run chaos:nodes -- --canary`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { whyNot } from './rigs/attach-rig.ts';
import { NodeChaos } from './rigs/node-chaos.ts';
import { Stage } from './rigs/node-stage.ts';
import { NO_CLOCK } from './rigs/wall-clock.ts';

const skip = whyNot('ip', 'nft', 'tc', 'nsenter', 'unshare') ?? NO_CLOCK;
const options = skip === undefined ? {} : { skip };

test(
  'nodes are killed, stopped and cut off, and nothing acknowledged is lost',
  options,
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const { problems, counts } = await Stage.use({}, async (stage) => {
      const nodes = await NodeChaos.start(stage, {
        seed,
        seconds: 12,
        only: undefined,
        postgres: undefined,
        onProgress: () => undefined,
      });
      return await nodes.run();
    });
    assert.deepEqual(problems, [], `seed ${seed}`);
    assert.ok(counts.writes > 100, `too little load to mean anything: ${counts.writes}`);
  },
);
