/** A cluster on this machine: `up --nodes`, and what each command does with its nodes. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';

import { nodesOf } from '../src/cli/context.ts';
import type { NodesStatus } from '../src/cli/commands/nodes.ts';
import { readLocalCluster } from '../src/control/local-cluster.ts';
import type { DriveView } from '../src/control/drive-schemas.ts';
import { readSupervisor } from '../src/control/supervisor-state.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { processesOf, sweepEarlierTests } from './rigs/control-rig.ts';

let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

after(() => rig.close());

const UP = ['up', '--nodes', '2', '--sparse', '--drive-size', '128MiB'];

/** Pids of each node's processes, by node. */
function pids(): Readonly<Record<string, readonly number[]>> {
  const cluster = readLocalCluster(rig.data);
  assert.ok(cluster !== undefined);
  return Object.fromEntries(
    nodesOf(cluster).map(({ directory, runDirectory }) => {
      const known = readSupervisor(runDirectory);
      const roles = Object.values(known?.processes ?? {}).map(({ pid }) => pid ?? 0);
      return [path.basename(directory), [known?.pid ?? 0, ...roles]];
    }),
  );
}

async function states(): Promise<readonly string[]> {
  const { nodes } = (await rig.json('status')) as unknown as NodesStatus;
  return nodes.map(({ node, state }) => `${node} ${state}`);
}

async function drives(...words: string[]): Promise<readonly string[]> {
  const list = (await rig.json('drive', 'ls', ...words)) as unknown as readonly DriveView[];
  return list.map(({ name, node, state }) => `${name} of ${node} ${state}`);
}

test('nodes are made once, started where they are down, asked while one is up, ended and removed', async () => {
  await rig.json(...UP, '--detach');
  const first = pids();
  assert.deepEqual(await states(), ['a up', 'b up']);
  assert.deepEqual(await drives('--node', 'b'), ['default-a of a unknown', 'default-b of b open']);

  // The supervisor first: it would start the others again.
  for (const pid of first['a'] ?? []) process.kill(pid, 'SIGKILL');
  await until(() => processesOf(rig.directory).length === first['b']?.length);
  assert.equal((await drives())[1], 'default-b of b open', 'the first node that is there answers');
  const foreground = rig.start(UP);
  let said = '';
  foreground.stderr?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await until(() => said.includes('Ctrl-C ends them'));
  assert.deepEqual(pids()['b'], first['b'], 'what is up is not touched');
  await rig.json('down', '--node', 'b');
  assert.deepEqual(await states(), ['a up', 'b down']);
  await until(() => said.includes('Node b no longer runs'));
  foreground.kill('SIGINT');
  assert.deepEqual(await once(foreground, 'exit'), [0, null], said);
  assert.deepEqual(processesOf(rig.directory), []);

  const fewer = await rig.run(['up', '--nodes', '1', '--detach']);
  assert.match(fewer.err, /it has 2 nodes .*node rm b/);
  const counted = await rig.run([
    'uninstall',
    '--yes',
    '--data',
    path.join(rig.data, 'nodes', 'b'),
  ]);
  assert.match(counted.err, /Cannot delete node "b": its cluster counts on it/);
  await rig.json('uninstall', '--yes');
  assert.ok(!fs.existsSync(rig.data));
});

test('a single machine stays one', async () => {
  fs.mkdirSync(rig.data);
  fs.writeFileSync(path.join(rig.data, 'state.db'), '');
  const refused = await rig.run([...UP, '--detach']);
  assert.match(refused.err, /a single machine is in it, and it stays one/);
  const elsewhere = await rig.run(['drive', 'ls', '--node', 'b']);
  assert.match(elsewhere.err, /--node is for a cluster on this machine/);
  assert.deepEqual(fs.readdirSync(rig.data), ['state.db']);
});
