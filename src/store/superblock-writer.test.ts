import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  BLOCK,
  GEOMETRY,
  OWNERS,
  blockOf,
  found,
  killedAfter,
  newestSuperblock,
  putBlock,
  rotBlock,
  rotPage,
  writtenDrive,
} from '../../sim/checked-drive.ts';
import type { DriveRig } from '../../sim/drive-rig.ts';

const ALL = [...GEOMETRY.superblockBlocks(0), ...GEOMETRY.superblockBlocks(1)];

type Harm = 'stale' | 'rotten' | 'blank';
const HARMS: readonly Harm[] = ['stale', 'rotten', 'blank'];

/** A closed drive of whose newest pair one copy is not as it should be. Returns the blocks of both. */
async function halfWritten(
  harm: Harm,
  mirror: 0 | 1,
): Promise<{ rig: DriveRig; good: number; bad: number }> {
  const rig = await writtenDrive('closed');
  const before = new Map(ALL.map((block) => [block, blockOf(rig, block)]));
  await rig.run((await rig.open()).close());
  await rig.restart();
  const pair = GEOMETRY.superblockBlocks(newestSuperblock(rig).n);
  const [good, bad] = [pair[mirror ^ 1] ?? 0, pair[mirror] ?? 0];
  if (harm === 'rotten') rotBlock(rig, bad);
  else if (harm === 'blank') putBlock(rig, bad, new Uint8Array(BLOCK));
  else putBlock(rig, bad, before.get(bad) ?? new Uint8Array(BLOCK));
  return { rig, good, bad };
}

const superblockFindings = async (rig: DriveRig): Promise<string[]> =>
  found(await rig.check()).filter((each) => each.includes('SUPERBLOCK'));

test('opening makes a half-written pair of superblocks whole', async () => {
  for (const harm of HARMS) {
    for (const mirror of [0, 1] as const) {
      const { rig, good, bad } = await halfWritten(harm, mirror);
      assert.equal((await superblockFindings(rig)).length, 1, `${harm} ${mirror}`);
      const wanted = blockOf(rig, good);
      await killedAfter(rig, () => Promise.resolve());
      assert.deepEqual(blockOf(rig, bad), wanted);
      assert.deepEqual(await superblockFindings(rig), [], `${harm} ${mirror}`);
    }
  }
});

test('the pair is whole and durable before the other one is overwritten, and its good copy is not written', async () => {
  for (const harm of HARMS) {
    for (const mirror of [0, 1] as const) {
      const { rig, good, bad } = await halfWritten(harm, mirror);
      const steps: string[] = [];
      rig.machine.onOperation = ({ kind, positionBytes }) => {
        const block = positionBytes / BLOCK;
        if (kind === 'write' && block === bad) steps.push('bad');
        else if (kind === 'write' && block === good) steps.push('good');
        else if (kind === 'write' && ALL.includes(block)) steps.push('other pair');
        else if (kind === 'flush' && steps.at(-1) !== 'flush') steps.push('flush');
      };
      await rig.open();
      const wanted = ['flush', 'bad', 'flush', 'other pair', 'other pair', 'flush'];
      assert.deepEqual(steps, wanted, `${harm} ${mirror}`);
    }
  }
});

test('power may go anywhere from then on: the drive opens again, and its superblocks are whole then', async () => {
  for (const harm of HARMS) {
    for (const isKept of [true, false]) {
      for (let at = 1; ; at++) {
        const { rig, bad } = await halfWritten(harm, 1);
        let seen = 0;
        rig.machine.onOperation = ({ kind, positionBytes }) => {
          if (seen > 0 || (kind === 'write' && positionBytes === bad * BLOCK)) seen++;
          if (seen !== at) return;
          rig.world.schedule(0, () =>
            rig.machine.powerOff((disk) => {
              if (isKept) disk.flush(Infinity);
              else disk.cut(() => -1);
            }),
          );
        };
        const opening = rig.open();
        const isCut = await opening.then(
          () => false,
          () => true,
        );
        await rig.restart();
        const story = `${harm}, cut at operation ${at} from there, cache ${isKept ? 'kept' : 'lost'}`;
        await killedAfter(rig, () => Promise.resolve());
        assert.deepEqual(await superblockFindings(rig), [], story);
        if (!isCut) break;
      }
    }
  }
});

test('a pair that is whole is not written', async () => {
  const rig = await writtenDrive('closed');
  const pair = GEOMETRY.superblockBlocks(newestSuperblock(rig).n);
  rig.machine.onOperation = ({ kind, positionBytes }) => {
    assert.ok(kind !== 'write' || !pair.includes(positionBytes / BLOCK));
  };
  await rig.open();
});

test('a drive that has lost owners is left as it is', async () => {
  const { rig, bad } = await halfWritten('rotten', 0);
  for (const copy of [0, 1]) rotPage(rig, OWNERS, copy);
  const before = blockOf(rig, bad);
  await killedAfter(rig, () => Promise.resolve());
  assert.deepEqual(blockOf(rig, bad), before);
});
