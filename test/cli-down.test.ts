/** What `down` ends, and what it says where there is nothing of ours to end. */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, test } from 'node:test';

import { identify } from '../src/attacher/process-identity.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';

let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

afterEach(async () => {
  // What a failed test left must not fail the next.
  await rig.run(['uninstall', '--yes']);
});

after(() => rig.close());

/** A process that ends with this test, whatever becomes of it. */
function startForeign(): ChildProcess {
  return spawn('setpriv', ['--pdeathsig', 'KILL', 'sleep', '60'], { stdio: 'ignore' });
}

test('down leaves a process alone that got the number of a dead supervisor', async () => {
  await rig.up();
  await rig.json('down');
  const foreign = startForeign();
  const identity = identify(foreign.pid ?? 0);
  assert.ok(identity !== undefined);
  const state = { ...identity, startTicks: identity.startTicks - 1, processes: {}, notes: [] };
  fs.writeFileSync(path.join(rig.data, 'run', 'supervisor.json'), JSON.stringify(state));
  const ended = await rig.run(['down']);
  assert.equal(ended.code, 0, ended.err);
  assert.equal(identify(identity.pid)?.startTicks, identity.startTicks, 'it runs as before');
  foreign.kill();
});
