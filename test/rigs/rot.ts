/** `npm run chaos:rot`: every byte of a small drive's metadata rots in turn; nobody may ever see a wrong byte. */

import { parseArgs } from 'node:util';
import { runRig } from '../../bench/lib/rig.ts';
import { countOption, UsageError } from '../../src/lib/count-option.ts';
import { RotImage } from './rot-image.ts';
import { runRot } from './rot-run.ts';

const HELP = `npm run chaos:rot -- [options]: flips bytes of a small drive, one at a time, and reads everything

  --stride N       every Nth byte of the metadata; 1 is each byte (1)
  --log-stride N   every Nth byte of the log, most of which is past (16)
  --data-stride N  every Nth byte of the data (997)
  --shard I/N      the Ith of N runs that share the work, I from 0 (0/1)
  --seed N         of the image and the bits (1)

Example: npm run chaos:rot -- --stride 64 --log-stride 512
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      stride: { type: 'string', default: '1' },
      'log-stride': { type: 'string', default: '16' },
      'data-stride': { type: 'string', default: '997' },
      shard: { type: 'string', default: '0/1' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const stride = countOption('stride', values.stride);
  const logStride = countOption('log-stride', values['log-stride']);
  const dataStride = countOption('data-stride', values['data-stride']);
  const [indexText = '', countText = ''] = values.shard.split('/');
  const count = countOption('shard', countText);
  const index = countOption('shard', indexText, 0);
  if (index >= count) throw new UsageError(`--shard ${values.shard}: I is less than N`);
  const seed = countOption('seed', values.seed, 0);
  let failed = false;
  for (const killed of [false, true]) {
    const image = await RotImage.make({ seed, killed });
    const report = await runRot(image, {
      seed,
      shard: { index, count },
      strides: {
        superblock: stride,
        directory: stride,
        table: stride,
        'chunk metadata': stride,
        log: logStride,
        data: dataStride,
      },
      onProgress: (line) => process.stderr.write(`${line}\n`),
    });
    const name = killed ? 'after SIGKILL' : 'after a clean close';
    process.stdout.write(
      `Drive ${name}: ${report.flips} flips, ${report.poisoned.length} poisoned\n`,
    );
    for (const [region, { unharmed, errors, refused }] of report.outcomes) {
      process.stdout.write(
        `  ${region}: ${unharmed} did no harm, ${errors} gave EIO, ${refused} were refused by name\n`,
      );
    }
    for (const line of report.poisoned) process.stdout.write(`  POISONED ${line}\n`);
    if (report.flips === 0) process.stdout.write('Nothing was flipped: FAILED\n');
    failed ||= report.poisoned.length > 0 || report.flips === 0;
  }
  return failed ? 1 : 0;
}

await runRig(main);
