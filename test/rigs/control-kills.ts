/**
 * Kills control at each step of its use cases and looks at what the next one makes of it. Short form: test/control-kill.test.ts.
 * Long form: `npm run chaos:control -- --all`: both file systems, and engine or attacher killed at the same moment.
 */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { atRigEnd, runRig } from '../../bench/lib/rig.ts';
import { ApiProblem } from '../../src/cli/api-client.ts';
import type { OperationView } from '../../src/control/operation-schemas.ts';
import { Refusal } from '../../src/model/errors.ts';
import { whyNot } from './attach-rig.ts';
import { clean, fileSystemCases, useCases } from './control-cases.ts';
import type { UseCase } from './use-case.ts';
import { findLeaks } from './control-leaks.ts';
import { ControlRig, type Role, sweepEarlierTests } from './control-rig.ts';
import { DRIVE_BYTES } from './drive-cases.ts';

/** No use case has as many steps. */
const STEPS_MAX = 30;

/** A rig with a drive, all processes up. */
export async function startRig(): Promise<ControlRig> {
  await sweepEarlierTests();
  const rig = new ControlRig();
  try {
    rig.start('engine');
    rig.start('attacher');
    await rig.startControl();
    await rig.api.post('/v1/drives', { name: 'default', sizeBytes: DRIVE_BYTES, sparse: true });
    return rig;
  } catch (error) {
    await rig.close();
    throw error;
  }
}

/**
 * Kills control at step 1, 1 + `stride`, … of `useCase`, until it ends unharmed. With `alsoKill` that process dies at the same
 * moment. Resolves with the number of kills.
 */
export async function killAtEachStep(
  rig: ControlRig,
  useCase: UseCase,
  options: {
    readonly stride?: number;
    readonly alsoKill?: Exclude<Role, 'control'> | undefined;
  } = {},
): Promise<number> {
  const { stride = 1, alsoKill } = options;
  for (let step = 1; step <= STEPS_MAX; step += stride) {
    await useCase.prepare?.(rig);
    rig.killAt(step);
    const key = randomUUID();
    const outcome = await attempt(rig, useCase, key);
    const killed = outcome === 'unreachable';
    rig.killAt(0);
    if (killed && alsoKill !== undefined) {
      await rig.kill(alsoKill);
      rig.start(alsoKill);
    }
    if (killed) {
      await rig.kill('control');
      await rig.startControl();
    }
    // Before a look at what is asked, which may need operations of its own.
    if (killed) await checkOperation(rig, useCase, step);
    await check(rig, useCase, `after a kill at step ${step}`);
    for (const againWith of [key, undefined]) {
      const when = `the request again ${againWith === undefined ? 'without' : 'with'} its key, step ${step}`;
      const again = await attempt(rig, useCase, againWith);
      assert.equal(again, useCase.refusal ?? 'done', when);
      await check(rig, useCase, `after ${when}`);
    }
    await clean(rig);
    assert.deepEqual(await findLeaks(rig), [], `cleaned after step ${step}`);
    if (!killed) {
      assert.ok(step > 1, 'it was killed at least once');
      assert.equal(outcome, useCase.refusal ?? 'done');
      return (step - 1) / stride;
    }
  }
  throw new Error(`"${useCase.name}" has more than ${STEPS_MAX} steps`);
}

/** Makes the request: `done`, the code of its refusal, or `unreachable` when control died in it. */
async function attempt(
  rig: ControlRig,
  useCase: UseCase,
  key: string | undefined,
): Promise<string> {
  try {
    const answer = await useCase.act(rig, key);
    if (key !== undefined && useCase.answer !== undefined) {
      assert.deepEqual(answer, useCase.answer, 'its answer');
    }
    return 'done';
  } catch (error) {
    if (error instanceof ApiProblem) return error.problem.code;
    if (error instanceof Refusal) return 'unreachable';
    throw error;
  }
}

async function check(rig: ControlRig, useCase: UseCase, when: string): Promise<void> {
  assert.deepEqual(await findLeaks(rig), [], when);
  assert.ok(await useCase.isAsked(rig), `${when}: all is as it was asked`);
}

/** The newest operation ended as the request does. */
async function checkOperation(rig: ControlRig, useCase: UseCase, step: number): Promise<void> {
  const operations = await rig.api.get<OperationView[]>('/v1/operations');
  const [newest] = operations.toSorted((a, b) => (a.startedAt < b.startedAt ? 1 : -1));
  const isDone = useCase.refusal === undefined && useCase.isUntold !== true;
  const wanted = isDone ? 'done' : 'failed';
  assert.equal(newest?.state, wanted, `operation after step ${step}: ${JSON.stringify(newest)}`);
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { all: { type: 'boolean', default: false } } });
  const others = values.all ? ([undefined, 'engine', 'attacher'] as const) : [undefined];
  const why = whyNot('mkfs.ext4', 'mkfs.xfs');
  if (why !== undefined) process.stdout.write(`Without block devices: ${why}\n`);
  const rig = await startRig();
  atRigEnd(async () => await rig.close());
  let total = 0;
  try {
    for (const fsType of values.all ? (['ext4', 'xfs'] as const) : (['ext4'] as const)) {
      for (const useCase of fsType === 'ext4' ? useCases(fsType) : fileSystemCases(fsType)) {
        if (useCase.needsDevice && why !== undefined) continue;
        for (const alsoKill of others) {
          const kills = await killAtEachStep(rig, useCase, { alsoKill });
          total += kills;
          process.stdout.write(
            `${useCase.name} (${fsType}, ${alsoKill ?? 'control'}): ${kills} kills\n`,
          );
        }
      }
    }
  } catch (error) {
    process.stdout.write(rig.log('control').split('\n').slice(-20).join('\n'));
    throw error;
  } finally {
    await rig.close();
  }
  process.stdout.write(`${total} kills in all\n`);
  return total > 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await runRig(main);
