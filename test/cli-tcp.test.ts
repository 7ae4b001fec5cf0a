/** The API over TCP as an operator has it: `up --listen`, the token, and the command line from beside the installation. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { CliRig } from './rigs/cli-rig.ts';
import { processesOf, sweepEarlierTests } from './rigs/control-rig.ts';

const SIZES = ['--sparse', '--drive-size', '128MiB'];
let rig: CliRig;
let token: string;
let api: string;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

after(async () => {
  await rig.run(['down']);
  await rig.close();
});

/** Where the API is on TCP. */
async function apiNow(): Promise<string> {
  const { sockets } = await rig.json('status');
  return `http://${(sockets as { tcp?: string }).tcp ?? ''}`;
}

test('an address that others reach is refused, and nothing is made', async () => {
  for (const address of ['0.0.0.0:7070', '[::]:7070', '10.1.2.3:7070', 'localhost:7070', '7070']) {
    const ended = await rig.run(['up', '--detach', ...SIZES, '--listen', address]);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, /Cannot listen on ".*": .*(no TLS yet|no IP address with a port)/);
  }
  assert.deepEqual(fs.readdirSync(rig.directory), []);
});

test('a port that is taken ends the start that asks for it', async () => {
  const holder = net.createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', () => resolve()));
  try {
    const { port } = holder.address() as net.AddressInfo;
    const ended = await rig.run(['up', '--detach', ...SIZES, '--listen', `127.0.0.1:${port}`]);
    assert.equal(ended.code, 1);
    assert.match(ended.err, /Cannot start: .*EADDRINUSE/);
    assert.deepEqual(processesOf(rig.directory), []);
    assert.deepEqual(fs.readdirSync(rig.directory), []);
  } finally {
    holder.close();
  }
});

test('the token opens it, from an option and from the environment', async () => {
  const up = await rig.run(['up', '--detach', ...SIZES, '--listen', '127.0.0.1:0']);
  assert.equal(up.code, 0, up.err);
  api = await apiNow();
  token = (await rig.run(['token', 'show'])).out.trim();
  assert.match(token, /^[\w-]{43}$/);
  const file = path.join(rig.data, 'token');
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const elsewhere = { HOLDFAST_DATA: path.join(rig.directory, 'none') };
  const words = ['drive', 'ls', '--api', api];
  const byFile = await rig.run([...words, '--token-file', file], { env: elsewhere });
  assert.match(byFile.out, /default +128 MiB/, byFile.err);
  const byEnv = await rig.run(words, { env: { ...elsewhere, HOLDFAST_TOKEN: token } });
  assert.equal(byEnv.out, byFile.out);
  for (const wrong of [{}, { HOLDFAST_TOKEN: `${token}x` }]) {
    const refused = await rig.run(words, { env: { ...elsewhere, ...wrong } });
    assert.equal(refused.code, 1);
    assert.match(refused.err, /Cannot let the request in: .*\n.*holdfast token show/);
  }
  const made = await rig.run(['volume', 'create', 'v', '--size', '4MiB', '--api', api], {
    env: { ...elsewhere, HOLDFAST_TOKEN: token },
  });
  assert.equal(made.code, 0, made.err);
});

test('an API of another machine is refused, and one that is not there is told of', async () => {
  for (const url of ['http://10.0.0.1:7070', 'https://127.0.0.1:1', 'http://127.0.0.1:1/v1', 'x']) {
    const ended = await rig.run(['status', '--api', url]);
    assert.equal(ended.code, 2, ended.err);
    assert.match(ended.err, /--api is http:\/\/127\.0\.0\.1:PORT/);
  }
  const ended = await rig.run(['status', '--api', 'http://127.0.0.1:1']);
  assert.equal(ended.code, 3);
  assert.match(ended.err, /does not answer at http:\/\/127\.0\.0\.1:1: .*\nholdfast up --listen/);
});

test('the token is in no log, on no command line and in no answer but its own', async () => {
  const logs = fs
    .readdirSync(path.join(rig.data, 'log'))
    .map((name) => fs.readFileSync(path.join(rig.data, 'log', name), 'utf8'));
  assert.match(logs.join(''), /api\.listening/);
  assert.match(logs.join(''), /api\.token_refused/);
  const commandLines = processesOf(rig.directory).flatMap(({ words }) => words);
  assert.ok(commandLines.length > 3);
  const { out } = await rig.run(['status', '--output', 'json']);
  for (const text of [...logs, ...commandLines, out]) assert.ok(!text.includes(token));
  const records = fs.readFileSync(path.join(rig.data, 'state.db'), 'latin1');
  assert.ok(!records.includes(token));
});

test('a token that was rotated is another, at once; the address outlives a restart, and none ends it', async () => {
  const now = (await rig.run(['token', 'rotate'])).out.trim();
  assert.notEqual(now, token);
  const old = await rig.run(['status', '--api', api], { env: { HOLDFAST_TOKEN: token } });
  assert.equal(old.code, 1);
  const fresh = await rig.run(['status', '--api', api], { env: { HOLDFAST_TOKEN: now } });
  assert.equal(fresh.code, 0, fresh.err);
  const running = await rig.run(['up', '--detach', '--listen', 'none']);
  assert.match(running.err, /runs in .* already/);
  assert.ok(fs.existsSync(path.join(rig.data, 'api.json')), 'a refused up changes nothing');
  await rig.json('down');
  await rig.json('up', '--detach');
  assert.match(await apiNow(), /^http:\/\/127\.0\.0\.1:\d+$/);
  await rig.json('down');
  await rig.json('up', '--detach', '--listen', 'none');
  assert.equal(await apiNow(), 'http://');
  await rig.json('down');
  const holder = net.createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', () => resolve()));
  const { port } = holder.address() as net.AddressInfo;
  const taken = await rig.run(['up', '--detach', '--listen', `127.0.0.1:${port}`]);
  holder.close();
  assert.match(taken.err, /Cannot start: .*EADDRINUSE/);
  assert.ok(!fs.existsSync(path.join(rig.data, 'api.json')), 'what was refused is not kept');
  await rig.json('uninstall', '--yes');
  assert.ok(!fs.existsSync(rig.data));
});
