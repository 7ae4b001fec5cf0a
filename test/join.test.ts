/** Machines that form a cluster by the command line, each a directory of its own on this one. */

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import process from 'node:process';
import { after, suite, test } from 'node:test';

import { installationAt } from '../src/control/installation.ts';
import type { JoinTokenView, NodeView } from '../src/control/node-schemas.ts';
import type { StatusView } from '../src/control/schemas.ts';
import { type SupervisorState, readSupervisor } from '../src/control/supervisor-state.ts';
import { readMembers } from '../src/control/store-members.ts';
import { tlsFilesOf } from '../src/env/node/node-identity.ts';
import { NbdRawClient } from './nbd-raw-client.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, type Ended } from './rigs/cli-rig.ts';
import { processesOf } from './rigs/control-rig.ts';
import { EtcdProcess, NO_ETCD } from './rigs/etcd-process.ts';

const NODES = ['a', 'b', 'c'] as const;

/** The first of four ports of 127.0.0.1 that nobody has, and nobody is given for a connection. */
async function freePorts(): Promise<number> {
  for (;;) {
    const first = randomInt(2500, 8000) * 4;
    const servers = [0, 1, 2, 3].map((offset) =>
      net.createServer().listen(first + offset, '127.0.0.1'),
    );
    const free = await Promise.allSettled(servers.map((server) => once(server, 'listening')));
    for (const server of servers) server.close();
    if (free.every(({ status }) => status === 'fulfilled')) return first;
  }
}

/** Commands on machines. */
class Machines {
  readonly rig: CliRig = new CliRig();

  at(name: string): string {
    return path.join(this.rig.directory, name);
  }

  on(name: string, words: string, input?: string): Promise<Ended> {
    const options = input === undefined ? {} : { input };
    return this.rig.run([...words.split(' '), '--data', this.at(name)], options);
  }

  async json<T>(name: string, words: string, input?: string): Promise<T> {
    const ended = await this.on(name, `${words} --output json`, input);
    assert.equal(ended.code, 0, ended.err);
    return JSON.parse(ended.out) as T;
  }

  up(name: string): Promise<unknown> {
    return this.json(name, 'up --detach --sparse --drive-size 256MiB');
  }

  async token(name: string): Promise<string> {
    return (await this.json<{ token: string }>(name, 'node token')).token;
  }

  async join(name: string, token: string): Promise<Ended> {
    const listen = `127.0.0.1:${await freePorts()}`;
    return await this.on(
      name,
      `node join - --name ${name} --zone ${name} --listen ${listen}`,
      token,
    );
  }

  #supervisor(name: string): SupervisorState {
    const state = readSupervisor(installationAt(this.at(name)).runDirectory);
    assert.ok(state !== undefined && 'etcd' in state.processes);
    return state;
  }

  /** SIGKILL of all that runs on a machine. */
  async kill(name: string): Promise<void> {
    const { pid, processes } = this.#supervisor(name);
    const pids = [pid, ...Object.values(processes).map((each) => each.pid)];
    for (const each of pids) if (each !== null) process.kill(each, 'SIGKILL');
  }

  /** SIGKILL of that process alone; resolves with that of etcd. */
  async killSupervisor(name: string): Promise<number | null | undefined> {
    const { pid, processes } = this.#supervisor(name);
    process.kill(pid, 'SIGKILL');
    return processes['etcd']?.pid;
  }

  async close(): Promise<void> {
    await Promise.all(NODES.map((name) => this.on(name, 'down')));
    await this.rig.close();
  }
}

suite('machines with an etcd of their own', { skip: NO_ETCD }, () => {
  const machines = new Machines();
  after(() => machines.close());

  const voters = (name: string): number => readMembers(machines.at(name)).length;

  test('three of them; the first is killed, and the others go on', async () => {
    const listen = `127.0.0.1:${await freePorts()}`;
    const init = `cluster init --name a --zone a --listen ${listen}`;
    const made = await machines.json('a', init);
    fs.rmSync(path.join(machines.at('a'), 'node.json'));
    assert.deepEqual(await machines.json('a', init), made, 'what was interrupted is the same');
    await machines.up('a');
    const { processes } = await machines.json<StatusView>('a', 'status');
    assert.equal(processes['etcd']?.state, 'running');
    const tokens = [await machines.token('a'), await machines.token('a')];
    const joined = await Promise.all([
      machines.join('b', tokens[0] ?? ''),
      machines.join('c', tokens[1] ?? ''),
    ]);
    for (const { code, err } of joined) assert.equal(code, 0, err);
    await Promise.all([machines.up('b'), machines.up('c')]);
    // The last one to have a vote is the first to know that there are three.
    await until(() => NODES.some((name) => voters(name) === 3), 60_000);
    await machines.json('a', 'volume create db --size 16MiB --replicas 3');
    await write('a', 7);
    const etcd = await machines.killSupervisor('c');
    await machines.up('c');
    const running = processesOf(machines.at('c'));
    assert.equal(running.length, 5, 'engine and control are replaced, and attacher and etcd go on');
    assert.ok(running.some(({ pid }) => pid === etcd));
    await machines.kill('a');
    assert.equal(await read('b', '--force'), 7);
    const late = await machines.token('c');
    const d = await machines.join('d', late);
    assert.equal(d.code, 0, d.err);
    const nodes = await machines.json<NodeView[]>('b', 'node ls');
    assert.equal(nodes.map(({ name }) => name).join(), 'a,b,c,d');
    assert.ok(nodes.slice(0, 3).every(({ join }) => join !== null));
  });

  async function client(name: string, ...words: string[]): Promise<NbdRawClient> {
    const attach = ['volume attach db --nbd', ...words].join(' ');
    const { uri, attachId } = await machines.json<{ uri: string; attachId: string }>(name, attach);
    const socket = new URL(uri).searchParams.get('socket') ?? '';
    return await NbdRawClient.attach(socket, { name: attachId });
  }

  async function write(name: string, value: number): Promise<void> {
    const nbd = await client(name);
    await nbd.write(0, Buffer.alloc(4096, value));
    nbd.destroy();
  }

  async function read(name: string, ...words: string[]): Promise<number | undefined> {
    const nbd = await client(name, ...words);
    const block = await nbd.read(0, 4096);
    nbd.destroy();
    return block[0];
  }
});

suite("machines with an etcd of the user's", { skip: NO_ETCD }, () => {
  const machines = new Machines();
  let etcd: EtcdProcess | undefined;
  after(async () => {
    await machines.on('a', 'down');
    await etcd?.kill();
    await machines.close();
  });

  test('a token lets one machine in, and nobody else', async () => {
    etcd = await EtcdProcess.start({ directory: machines.rig.directory });
    const settings = machines.at('etcd.json');
    fs.writeFileSync(settings, JSON.stringify({ endpoints: [etcd.endpoint] }));
    const listen = `127.0.0.1:${await freePorts()}`;
    await machines.json('a', `cluster init --name a --listen ${listen} --store ${settings}`);
    await machines.up('a');
    const token = await machines.token('a');
    const taken = await machines.on('x', `node join - --name a --listen ${listen}`, token);
    assert.match(taken.err, /there is one of that name/);
    assert.equal((await machines.join('b', token)).code, 0);
    const used = await machines.join('c', token);
    assert.match(used.err, /its token was used, by node "b"/);
    assert.ok(!fs.existsSync(path.join(machines.at('c'), 'node.json')));
    const keys = ['a', 'b'].map((name) =>
      fs.readFileSync(tlsFilesOf(machines.at(name)).key, 'utf8'),
    );
    assert.notEqual(keys[0], keys[1]);
    const other = await machines.token('a');
    const [newest] = await machines.json<JoinTokenView[]>('a', 'node tokens');
    await machines.json('a', `node revoke ${newest?.id}`);
    assert.match((await machines.join('c', other)).err, /or was revoked/);
    const word = await machines.on('c', `node join ${other} --name c --listen ${listen}`);
    assert.equal(word.code, 1);
    const left = fs.readFileSync(path.join(machines.at('c'), 'lock'), 'utf8');
    assert.match(left, /node join \(hidden\)/, 'no secret in a note');
  });
});
