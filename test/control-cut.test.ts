/** Power cuts at any moment of control's life: what it answered by then is in its store. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';

import { RecordsStore } from '../src/control/records-store.ts';
import type { StatusView } from '../src/control/schemas.ts';
import { Prng } from '../src/lib/prng.ts';
import { SqliteStore } from '../src/metadata/sqlite-store.ts';
import { until } from './rigs/attach-rig.ts';
import { startRig } from './rigs/control-kills.ts';
import type { ControlRig } from './rigs/control-rig.ts';
import { STRACE_OPTIONS, type StoreStep, cutStore, readSteps } from './rigs/store-cuts.ts';

const CLIENTS = 16;
/** Enough for SQLite to copy its log into the database a few times. */
const VOLUMES = 160;
const CUTS = 60;
const MAIN = new URL('../src/main.ts', import.meta.url).pathname;
const skip = fs.existsSync('/usr/bin/strace') ? {} : { skip: 'strace not installed' };
let rig: ControlRig;

before(async () => {
  rig = await startRig();
});

after(() => rig.close());

/** Creates volumes by several clients at once under a control that is traced from its start. Resolves with what it did. */
async function traced(): Promise<StoreStep[]> {
  const { directory } = rig.installation;
  const prefix = path.join(rig.directory, 'trace');
  await rig.kill('control');
  // From nothing, so that every byte of the store is in the trace.
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith('state.db') || name === 'engine.json')
      fs.rmSync(path.join(directory, name));
  }
  const dies = ['setpriv', '--pdeathsig', 'KILL'];
  const words = [...STRACE_OPTIONS, '-o', prefix, ...dies, process.execPath, MAIN, 'control'];
  const [program, ...rest] = [...dies, 'strace', ...words, '--data', directory];
  const child = spawn(program, rest, { stdio: 'ignore' });
  await until(async () => {
    const status = await rig.api.get<StatusView>('/v1/status').catch(() => undefined);
    return status?.processes['control']?.state === 'running';
  });
  await rig.api.post('/v1/drives', { name: 'traced', sizeBytes: 2 ** 29, sparse: true });
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < VOLUMES) {
      const name = `cut-${next++}`;
      await rig.api.post('/v1/volumes', { name, sizeBytes: 4096, drive: 'traced' });
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  return readSteps(prefix, directory);
}

/** Names that were answered within the first `count` steps and that the store of such a cut lacks, or has half made. */
async function lost(
  steps: readonly StoreStep[],
  cut: { readonly count: number; readonly random: Prng; readonly ignoresFlushes?: boolean },
): Promise<string[]> {
  const folder = path.join(rig.directory, 'cut');
  fs.rmSync(folder, { recursive: true, force: true });
  cutStore(steps, { ...cut, folder });
  const ready = await readyIn(folder);
  return steps
    .slice(0, cut.count)
    .flatMap((step) => (isCreation(step) && !ready.has(step.name) ? [step.name] : []));
}

const isCreation = (step: StoreStep): step is StoreStep & { readonly kind: 'answer' } =>
  step.kind === 'answer' && step.name.startsWith('cut-');

/** Volumes that the store in `folder` has made; none where it cannot be read. */
async function readyIn(folder: string): Promise<ReadonlySet<string>> {
  try {
    const store = new SqliteStore({
      path: path.join(folder, 'state.db'),
      bootMs: () => 0,
      bootId: 'boot',
      randomId: () => '',
    });
    const volumes = await new RecordsStore(store, folder).volumes();
    await store.close();
    return new Set(volumes.flatMap(({ name, state }) => (state === 'ready' ? [name] : [])));
  } catch {
    return new Set();
  }
}

test('what control answered survives a power cut', skip, async (t) => {
  const steps = await traced();
  const answers = steps.filter(isCreation);
  assert.equal(answers.length, VOLUMES);
  assert.ok(
    steps.some((step) => step.kind === 'flush' && step.file === 'state.db'),
    'the log was copied into the database',
  );
  const random = new Prng(7);
  // Before the first answer there is nothing to lose.
  const first = steps.findIndex(isCreation);
  for (let cut = 0; cut < CUTS; cut++) {
    const count = first + 1 + random.below(steps.length - first);
    assert.deepEqual(await lost(steps, { count, random }), [], `cut behind step ${count}`);
  }
  const behindLast = steps.lastIndexOf(answers.at(-1) ?? assert.fail()) + 1;
  assert.deepEqual(await lost(steps, { count: behindLast, random }), []);
  // The canary: a disk that lies about flushes loses some, or the test could not see it.
  const missing = await lost(steps, { count: behindLast, random, ignoresFlushes: true });
  assert.ok(missing.length > 0, 'a lying disk is caught');
  t.diagnostic(`${CUTS} cuts among ${steps.length} steps`);
});
