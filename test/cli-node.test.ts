/** The commands for nodes and their drives, as their help has them, on the API with a cluster's records. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, test } from 'node:test';

import { cliMain, newProgram } from '../src/cli/cli-main.ts';
import type { DriveView } from '../src/control/drive-schemas.ts';
import type { NodeView } from '../src/control/node-schemas.ts';
import { nodeFileOf } from '../src/env/node/node-identity.ts';
import { RestDouble } from './rigs/rest-double.ts';

let double: RestDouble;
// Each run of a command listens for its errors.
for (const stream of [process.stdout, process.stderr]) stream.setMaxListeners(100);

const nodeOf = (name: string, zone: string) => ({
  key: `node/${name}`,
  record: {
    name,
    labels: { region: '', zone, rack: '' },
    service: 'open',
    peer: { host: '127.0.0.1', port: 7171 },
    bootId: 'boot',
    engine: { instance: 'x', start: 1 },
    createdAtMs: 0,
  },
});

before(async () => {
  double = await RestDouble.start('a');
  await double.app.listen({ path: double.installation.apiSocket });
  const spread = { level: 'node', isHard: true };
  const volume = {
    name: 'db',
    id: 'id-db',
    drive: '',
    sizeBytes: 4096,
    state: 'ready',
    replication: { count: 2, spread, local: false },
  };
  const drive = { path: '/x', state: 'ready', sizeBytes: 2 ** 30 };
  const own = { ...drive, name: 'a1', id: 'id-a1', node: 'a' };
  const other = { ...drive, name: 'default-b', id: 'id-b', node: 'b' };
  const puts = [
    nodeOf('a', 'a'),
    nodeOf('b', 'b'),
    { key: 'drive/a1', record: own },
    { key: 'drive/default-b', record: other },
    { key: 'volume/db', record: volume },
  ];
  await double.records.change({ puts });
});
after(() => double.close());

/** Runs a command. What it printed, its exit code first. */
async function run(
  words: string,
  on: RestDouble = double,
): Promise<{ readonly code: number; readonly out: string }> {
  let out = '';
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = (text: string | Uint8Array) => {
    // The test runner tells of tests by bytes.
    if (typeof text !== 'string') return write(text);
    out += text;
    return true;
  };
  try {
    const data = ['--data', on.installation.directory];
    return { code: await cliMain([...words.split(' '), ...data]), out };
  } finally {
    process.stdout.write = write;
  }
}

/** The example in a command's help, without the program's name. */
async function exampleOf(words: string): Promise<string> {
  let help = '';
  let command = await newProgram();
  for (const word of words.split(' ')) {
    const child = command.commands.find((each) => each.name() === word);
    assert.ok(child !== undefined, words);
    command = child;
  }
  command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
  return /^ {2}holdfast (.*)$/m.exec(help)?.[1] ?? '';
}

test('every example of a command on nodes runs, for people and as JSON', async () => {
  const expected: readonly (readonly [words: string, text: RegExp])[] = [
    ['node ls', /^b +up +open +zone b/m],
    ['node inspect', /^zone +b$/m],
    ['node label', /^rack +r12$/m],
    ['what-if lose', /No volume would notice: none has anything in node "b"/],
    ['what-if drain', /There is nothing to move/],
    ['node tokens', /^ID +STATE/],
    ['node revoke', /There was no token 0123/],
    ['explain placement', /^a1 +a +chosen +it is the best for replica [12]/ms],
    ['node cordon', /Node "b" gets nothing new/],
    ['node uncordon', /Node "b" is in service/],
    ['node drain', /Node "b" drains: 0 replicas are to leave it/],
    ['drive cordon', /Drive "default-b" gets no more replicas/],
    ['drive drain', /Drive "default-b" is drained: it has no replicas/],
    ['drive ls', /^default-b +b .* 0 +unknown, draining: its node is down/m],
    ['drive uncordon', /Drive "default-b" is in service/],
    ['node maintenance on', /Node "b" may be away/],
    ['node maintenance off', /Node "b" is in service/],
  ];
  for (const [words, text] of expected) {
    const example = await exampleOf(words);
    assert.ok(example.startsWith(words), example);
    const shown = await run(example);
    assert.equal(shown.code, 0, example);
    assert.match(shown.out, text);
    const json = await run(`${example} --output json`);
    assert.equal(typeof JSON.parse(json.out), 'object', example);
  }
  assert.equal((await run('node cordon b')).code, 0);
  const [, b] = JSON.parse((await run('node ls --output json')).out) as NodeView[];
  assert.deepEqual(
    [b?.service, b?.labels],
    ['cordoned', { region: '', zone: 'east', rack: 'r12' }],
  );
  assert.match((await run(await exampleOf('node rm'))).out, /Node "b" is out of the cluster/);
  assert.match((await run('node rm b --yes')).out, /There was no node "b"/);
});

test('what cannot be done of a node is refused', async () => {
  assert.equal((await run('node inspect nobody')).code, 1);
  assert.equal((await run('node label a floor=3')).code, 2);
  assert.equal((await run('node token')).code, 1, 'the records are those of no cluster');
  assert.equal((await run('node revoke x')).code, 2);
  assert.equal((await run('node label a zone=a/b')).code, 2);
  assert.equal((await run('what-if lose nowhere --level zone')).code, 2);
});

test('the examples for replicas run, for people and as JSON', async () => {
  const other = await RestDouble.start();
  try {
    const spread = { level: 'node', isHard: true };
    const names = ['a', 'b', 'c', 'd'];
    const puts = names.flatMap((name) => [
      nodeOf(name, name),
      {
        key: `drive/${name}1`,
        record: { name: `${name}1`, node: name, path: '/x', state: 'ready', sizeBytes: 2 ** 30 },
      },
    ]);
    const volume = {
      name: 'db',
      id: 'id-db',
      drive: '',
      sizeBytes: 4096,
      state: 'ready',
      epoch: 0,
      createdAtMs: 0,
      replication: { count: 2, spread, local: false },
    };
    const replicas = ['a', 'c'].map((name) => ({
      key: `replica/${name}`,
      record: {
        id: name,
        volume: 'db',
        volumeId: 'id-db',
        node: name,
        drive: `${name}1`,
        sizeBytes: 4096,
        state: 'ready',
      },
    }));
    await other.records.change({
      puts: [...puts, { key: 'volume/db', record: volume }, ...replicas],
    });
    await other.app.listen({ path: other.installation.apiSocket });
    const expected: readonly (readonly [words: string, text: RegExp])[] = [
      ['volume scale', /"db" is to have 3 replicas/],
      ['volume move-replica', /gets a replica elsewhere in place of that on "c"/],
      ['volume scrub', /"db" was never scrubbed/],
    ];
    for (const [words, text] of expected) {
      const example = await exampleOf(words);
      const shown = await run(example, other);
      assert.equal(shown.code, 0, example);
      assert.match(shown.out, text);
      const json = await run(`${example} --output json`, other);
      assert.equal(typeof JSON.parse(json.out), 'object', example);
    }
    assert.equal((await run('volume scale db --replicas 5', other)).code, 1);
    assert.equal((await run('volume scale db --replicas 9', other)).code, 2);
    assert.equal((await run('volume move-replica db --from b', other)).code, 2);
  } finally {
    await other.close();
  }
});

test('drives are replaced and adopted, for people and as JSON', async () => {
  const other = await RestDouble.start('a');
  try {
    const { directory } = other.installation;
    const peer = { host: '127.0.0.1', port: 7171 };
    const identity = { version: 1, cluster: 'c', node: 'a', labels: {}, peer };
    fs.writeFileSync(nodeFileOf(directory), JSON.stringify(identity));
    const id = '11111111-2222-3333-4444-555555555555';
    const drive = { path: '/x', state: 'ready', sizeBytes: 2 ** 30, sparse: true };
    await other.records.change({
      puts: [
        { key: 'drive/fast', record: { ...drive, name: 'fast', id: 'id-fast', node: 'a' } },
        { key: 'drive/moved', record: { ...drive, name: 'moved', id, node: 'b' } },
      ],
    });
    other.layDrive(id.replaceAll('-', ''));
    await other.app.listen({ path: other.installation.apiSocket });
    const file = `${other.directory}/new.img`;
    const replaced = await run(`drive replace fast ${file}`, other);
    assert.match(replaced.out, /Drive "fast-2" at .* is in the place of "fast"/);
    const again = await run(`drive replace fast ${file} --output json`, other);
    assert.equal((JSON.parse(again.out) as DriveView).name, 'fast-2');
    const adopted = await run('drive adopt /moved', other);
    assert.match(adopted.out, /Drive "moved" at \/moved is of node "a", with 0 replicas/);
    const json = await run('drive adopt /moved --output json', other);
    assert.equal((JSON.parse(json.out) as DriveView).node, 'a');
    assert.equal((await run(`drive replace fast ${file}.2`, other)).code, 1);
  } finally {
    await other.close();
  }
});
