/** The attacher on real /dev/fuse and loop devices, against a server that the test plays. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { AttachRig, UUID, sweepEarlierRuns, whyNot } from './rigs/attach-rig.ts';
import { FlushCountingEngine } from './rigs/flush-counting-engine.ts';
import { ScriptedNbdServer } from './rigs/scripted-nbd-server.ts';

const MIB = 2 ** 20;
const execute = promisify(execFile);
const skip = whyNot();
const options = skip === undefined ? { timeout: 120_000 } : { skip };

before(async () => {
  if (skip === undefined) await sweepEarlierRuns();
});

test(
  'a flush of the device reaches the engine before it returns, and is not invented',
  options,
  async () => {
    const rig = new AttachRig({ sizeBytes: 384 * MIB });
    const server = new ScriptedNbdServer(rig.socketPath);
    server.sizeBytes = rig.sizeBytes;
    try {
      await server.listen();
      await rig.startAttacher();
      const engine = new FlushCountingEngine(rig.sizeBytes);
      const serving = server.accept().then((connection) => engine.serve(connection));
      const device = await rig.attach();
      await serving;
      const write = ['if=/dev/zero', `of=${device}`, 'bs=64k', 'count=16', 'oflag=direct'];
      const flushesBefore = engine.flushes;
      await execute('dd', write);
      // The last close of a block device flushes it too.
      const plain = engine.flushes - flushesBefore;
      await execute('dd', [...write, 'conv=fsync']);
      assert.ok(engine.flushes - flushesBefore - plain > plain, 'one more than without fsync');
      assert.equal(engine.writtenBytes, 2 * MIB);

      engine.holdFlushes = true;
      const syncing = execute('dd', [...write, 'conv=fsync']).then(() => 'returned');
      assert.equal(await Promise.race([syncing, sleep(300, 'waits')]), 'waits');
      engine.holdFlushes = false;
      engine.releaseFlushes();
      assert.equal(await syncing, 'returned');
      await rig.call('detach', { attachId: rig.attachId });
    } finally {
      await rig.killAttacher();
      server.close();
      await rig.close();
    }
  },
);

test(
  'without io_uring there may be more volumes than Node has threads by itself',
  options,
  async () => {
    const sizeBytes = 16 * MIB;
    const rig = new AttachRig({ sizeBytes });
    const server = new ScriptedNbdServer(rig.socketPath);
    server.sizeBytes = sizeBytes;
    try {
      await server.listen();
      await rig.startAttacher('node');
      for (let i = 0; i < 7; i += 1) {
        const engine = new FlushCountingEngine(sizeBytes);
        const serving = server.accept().then((connection) => engine.serve(connection));
        const attachId = `${i}0`.repeat(16);
        const { uuid, socketPath } = { uuid: UUID, socketPath: rig.socketPath };
        const kind = 'fuse-loop';
        const status = await rig.call('attach', { attachId, uuid, socketPath, sizeBytes, kind });
        await serving;
        await execute('dd', ['if=/dev/zero', `of=${String(status.device)}`, 'bs=1M', 'count=16']);
        assert.ok(engine.writtenBytes >= sizeBytes);
      }
      await rig.call('shutdown');
    } finally {
      await rig.killAttacher();
      server.close();
      await rig.close();
    }
  },
);
