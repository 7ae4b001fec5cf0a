/** An attacher hands a device that is in use to a successor: with I/O, without, while the server is away, and on both makers of env.io. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { identify } from '../src/attacher/process-identity.ts';
import { run, sweepEarlierRuns, until, whyNot, withRig } from './rigs/attach-rig.ts';

const MIB = 2 ** 20;
const execute = promisify(execFile);
const skip = whyNot('fio');
const options = skip === undefined ? { timeout: 60_000 } : { skip };

before(async () => {
  if (skip === undefined) await sweepEarlierRuns();
});

const verifiedLoad = (device: string): Promise<unknown> =>
  execute(
    'fio',
    `--filename=${device} --name=load --rw=randwrite --bsrange=4k-256k --direct=1 --ioengine=libaio
    --iodepth=16 --verify=crc32c --verify_backlog=32 --verify_state_save=0 --time_based --runtime=3`.split(
      /\s+/,
    ),
  );

for (const io of ['auto', 'node'] as const) {
  test(`handovers under load and idle (--io ${io})`, options, async () => {
    await withRig(
      64 * MIB,
      async (rig) => {
        const device = await rig.attach();
        const load = verifiedLoad(device);
        const pids = new Set([rig.attacherPid]);
        for (let i = 0; i < 2; i += 1) pids.add(await rig.handOver());
        await load;
        pids.add(await rig.handOver());
        assert.equal(pids.size, 4, 'each is another process');
        await until(() => [...pids].filter((pid) => identify(pid) !== undefined).length === 1);
        const { devices } = await rig.call('list');
        assert.deepEqual(
          (devices as { device: string; state: string }[]).map((each) => [each.device, each.state]),
          [[device, 'serving']],
        );
        await rig.call('detach', { attachId: rig.attachId });
        assert.deepEqual(
          rig.made.entries().map((made) => made.kind),
          ['socket'],
        );
      },
      io,
    );
  });
}

test(
  'without a server that answers it is off, and the device waits as before',
  options,
  async () => {
    await withRig(64 * MIB, async (rig) => {
      const device = await rig.attach();
      await rig.killServer();
      const words = [`if=${device}`, 'of=/dev/null', 'bs=4k', 'count=1', 'iflag=direct'];
      const reading = execute('dd', words);
      await sleep(200);
      const refused = rig.handOver();
      await assert.rejects(refused, /left requests unanswered/);
      const { pid } = await rig.call('hello', { protocol: 1 });
      assert.equal(pid, rig.attacherPid);
      await rig.startServer();
      await reading;
      await rig.handOver();
      run('dd', ...words);
    });
  },
);
