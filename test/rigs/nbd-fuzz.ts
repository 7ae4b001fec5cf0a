/**
 * Fuzzes the NBD server. A tenth of the cases goes to the live frontend, alternately on both makers of env.io; the rest to the parsers. A failure
 * names its seed.
 *
 *     npm run fuzz:nbd -- [--cases 1000000] [--seed 1] [--live-only]
 */

import { parseArgs } from 'node:util';

import { runRig } from '../../bench/lib/rig.ts';
import { countOption } from '../../src/lib/count-option.ts';
import { Prng } from '../../src/lib/prng.ts';
import { fuzzLive } from './nbd-fuzz-live.ts';
import { fuzzParserCase } from './nbd-fuzz-parser.ts';

const CLIENTS = 8;
const LIVE_SHARE = 10;
/** Fewer would leave one of the makers of env.io without a case. */
const CASES_MIN = 2 * LIVE_SHARE;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
      'live-only': { type: 'boolean', default: false },
    },
  });
  const caseCount = countOption('cases', values.cases, CASES_MIN);
  const seed = countOption('seed', values.seed, 0);
  process.stdout.write(`seed ${seed}, ${caseCount} cases\n`);

  if (!values['live-only']) {
    const parserCount = caseCount - Math.floor(caseCount / LIVE_SHARE);
    for (let index = 0; index < parserCount; index += 1) {
      try {
        fuzzParserCase(new Prng(seed + index));
      } catch (error) {
        throw new Error(`parser case with --seed ${seed + index}`, { cause: error });
      }
    }
    process.stdout.write(`parsers: ${parserCount} cases passed\n`);
  }
  const liveCount = values['live-only'] ? caseCount : Math.floor(caseCount / LIVE_SHARE);
  for (const io of ['auto', 'node'] as const) {
    const result = await fuzzLive({
      io,
      seed,
      clients: Math.min(CLIENTS, liveCount),
      caseCount: Math.ceil(liveCount / 2),
    });
    const growth = Math.round(result.residentGrowthBytes / 2 ** 20);
    process.stdout.write(
      `live on ${io}: ${result.caseCount} cases passed, ${result.answeredCount} requests answered, ${growth} MiB grown\n`,
    );
  }
  return 0;
}

await runRig(main);
