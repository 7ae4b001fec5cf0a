/** Machines that form a cluster by the command line, each a directory of its own on this one. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, suite, test } from 'node:test';

import { tlsFilesOf } from '../src/env/node/node-identity.ts';
import type { JoinTokenView, NodeView } from '../src/control/node-schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig, type Ended } from './rigs/cli-rig.ts';
import { EtcdProcess, NO_ETCD, freePort } from './rigs/etcd-process.ts';

suite("machines with an etcd of the user's own", { skip: NO_ETCD }, () => {
  const rig = new CliRig();
  const at = (name: string): string => path.join(rig.directory, name);
  const on = (name: string, words: string, input?: string): Promise<Ended> =>
    rig.run([...words.split(' '), '--data', at(name)], input === undefined ? {} : { input });
  const json = async <T>(name: string, words: string): Promise<T> => {
    const ended = await on(name, `${words} --output json`);
    assert.equal(ended.code, 0, ended.err);
    return JSON.parse(ended.out) as T;
  };
  let etcd: EtcdProcess | undefined;
  after(async () => {
    await Promise.all(['a', 'b'].map((name) => on(name, 'down')));
    await etcd?.kill();
    await rig.close();
  });

  test('one makes a cluster, and one joins it', async () => {
    etcd = await EtcdProcess.start({ directory: rig.directory });
    fs.writeFileSync(at('etcd.json'), JSON.stringify({ endpoints: [etcd.endpoint] }));
    const init = `cluster init --name a --listen 127.0.0.1:${await freePort()} --store ${at('etcd.json')}`;
    const made = await json<{ cluster: string }>('a', init);
    assert.deepEqual(await json('a', init), made, 'the same again is the same cluster');
    await json('a', 'up --detach --sparse --drive-size 256MiB');
    const first = (await on('a', 'node token')).out.trim();
    const join = `node join - --name b --listen 127.0.0.1:${await freePort()} --zone west`;
    const taken = await on('b', join.replace('--name b', '--name a'), first);
    assert.match(taken.err, /there is one of that name/);
    const joined = await on('b', join, first);
    assert.equal(joined.code, 0, joined.err);
    const used = await on('c', join.replace('--name b', '--name c'), first);
    assert.match(used.err, /its token was used, by node "b"/);
    assert.ok(!fs.existsSync(path.join(at('c'), 'node.json')));
    await json('b', 'up --detach --sparse --drive-size 256MiB');
    await until(async () => {
      const nodes = await json<NodeView[]>('b', 'node ls');
      return nodes.map(({ state }) => state).join() === 'up,up';
    });
    const b = await json<NodeView>('a', 'node inspect b');
    assert.deepEqual([b.labels.zone, b.join?.host, b.drives], ['west', '127.0.0.1', ['default-b']]);
    const keys = ['a', 'b'].map((name) => fs.readFileSync(tlsFilesOf(at(name)).key, 'utf8'));
    assert.notEqual(keys[0], keys[1]);
    const token = (await on('b', 'node token')).out.trim();
    const [newest] = await json<JoinTokenView[]>('b', 'node tokens');
    await json('a', `node revoke ${newest?.id}`);
    const revoked = await on('c', join.replace('--name b', '--name c'), token);
    assert.match(revoked.err, /or was revoked/);
  });
});
