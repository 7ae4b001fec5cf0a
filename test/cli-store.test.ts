/** `holdfast store …` and `up --store`: records in SQLite, in a real etcd, and on the way between them. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';

import { EtcdGateway } from '../src/metadata/etcd-gateway.ts';
import { parseBackup } from '../src/metadata/backup.ts';
import { entriesIn, endOf, toBase64 } from '../src/metadata/etcd-messages.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { EtcdProcess, NO_ETCD } from './rigs/etcd-process.ts';

suite('holdfast store', { skip: NO_ETCD }, () => {
  const rig = new CliRig();
  const at = (name: string): string => path.join(rig.directory, name);
  let etcd: EtcdProcess;
  before(async () => {
    etcd = await EtcdProcess.start({ directory: rig.directory });
    fs.writeFileSync(at('etcd.json'), JSON.stringify({ endpoints: [etcd.endpoint] }));
  });
  after(async () => {
    etcd.signal('SIGCONT');
    await rig.run(['down']);
    await etcd.kill();
    await rig.close();
  });

  const volumes = async (): Promise<string> => {
    const ended = await rig.run(['volume', 'ls', '--output', 'json']);
    assert.equal(ended.code, 0, ended.err);
    const views: { name: string }[] = JSON.parse(ended.out);
    return views.map(({ name }) => name).join(' ');
  };
  const inEtcd = async (): Promise<number> => {
    const gateway = new EtcdGateway({ endpoints: [etcd.endpoint] });
    const range = { key: toBase64('holdfast/'), range_end: endOf('holdfast/'), keys_only: true };
    const outcome = await gateway.call('kv/range', range);
    gateway.close();
    assert.ok(outcome.kind === 'answer');
    return entriesIn(outcome.message).length;
  };

  /** Names of the volumes on record, whether or not anything runs. */
  const recorded = async (): Promise<string> => {
    await rig.json('store', 'backup', at('now'));
    const keys = parseBackup(fs.readFileSync(at('now'), 'utf8'), '').map(({ key }) => key);
    return keys.filter((key) => key.startsWith('volume/')).join(' ');
  };

  test('an installation in etcd; a backup; an etcd that lost its data is refused until it is restored', async () => {
    await rig.json(
      'up',
      '--detach',
      '--sparse',
      '--drive-size',
      '1GiB',
      '--store',
      at('etcd.json'),
    );
    await rig.json('volume', 'create', 'one', '--size', '16MiB');
    await rig.json('store', 'backup', at('backup'));
    for (let epoch = 1; epoch <= 2; epoch++) {
      await rig.json('volume', 'attach', 'one', '--nbd');
      await rig.json('volume', 'detach', 'one');
    }
    await rig.json('volume', 'create', 'two', '--size', '16MiB');
    const running = await rig.run(['store', 'restore', '--yes', at('backup')]);
    assert.match(running.err, /runs/, 'not while it runs');
    assert.equal(await recorded(), 'volume/one volume/two');
    await rig.run(['down']);
    await etcd.kill();
    etcd.loseData();
    await etcd.up();
    const lost = await rig.run(['up', '--detach']);
    assert.match(lost.err, /lost what was committed/);
    assert.match(lost.err, /holdfast store restore/);
    const text = fs.readFileSync(at('backup'), 'utf8');
    fs.writeFileSync(at('cut'), text.slice(0, -80));
    const cut = await rig.run(['store', 'restore', '--yes', at('cut')]);
    assert.match(cut.err, /not all of it is there/);
    await rig.json('store', 'restore', '--yes', at('backup'));
    assert.equal(await recorded(), 'volume/one');
  });

  test('records move to SQLite and back; another installation is refused; uninstall leaves nothing', async () => {
    await rig.json('store', 'migrate', '--to', 'sqlite');
    assert.equal(await inEtcd(), 0, 'nothing is left there');
    await rig.json('up', '--detach');
    assert.equal(await volumes(), 'one');
    // The drive has seen a later epoch than the record that was restored.
    await rig.json('volume', 'attach', 'one', '--nbd');
    await rig.run(['down']);
    await rig.json('store', 'migrate', '--to', at('etcd.json'));
    assert.ok(!fs.existsSync(path.join(rig.data, 'state.db')));
    assert.equal(await recorded(), 'volume/one');
    const other = new CliRig();
    after(() => other.close());
    const taken = await other.run(['up', '--detach', '--store', at('etcd.json')]);
    assert.match(taken.err, /in use/);
    assert.deepEqual(fs.readdirSync(other.directory), [], 'what it made it takes back');
    await rig.json('uninstall', '--yes');
    assert.equal(await inEtcd(), 0);
    assert.ok(!fs.existsSync(rig.data), 'the drive that it made too');
  });
});
