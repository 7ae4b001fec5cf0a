/** The command line on a terminal: progress that Ctrl-C leaves running, tables that fit, colors, questions, --watch. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, afterEach, before, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';

import { ApiClient } from '../src/cli/api-client.ts';
import { installationAt } from '../src/control/installation.ts';
import type { OperationView } from '../src/control/operation-schemas.ts';
import type { StatusView } from '../src/control/schemas.ts';
import { until } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';
import { Terminal } from './rigs/terminal.ts';

const PROGRAM = new URL('../bin/holdfast', import.meta.url).pathname;
const REDRAW = '\r\u001B[K';
const CLEAR = '\u001B[H\u001B[J';
const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
/** Its format takes long enough to be met in its middle. */
const SLOW_SIZE = '1GiB';
let rig: CliRig;
let terminals: Terminal[] = [];

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
  await rig.up();
  await rig.json('volume', 'create', 'data', '--size', '64MiB');
});

afterEach(() => {
  for (const terminal of terminals) terminal.kill();
  terminals = [];
});

after(async () => {
  await rig.run(['down']);
  await rig.close();
});

function onTerminal(
  words: readonly string[],
  { columns = 100, env = {} }: { columns?: number; env?: Readonly<Record<string, string>> } = {},
): Terminal {
  const terminal = new Terminal([PROGRAM, ...words], {
    columns,
    env: { HOLDFAST_DATA: rig.data, ...env },
  });
  terminals.push(terminal);
  return terminal;
}

const plain = ({ text }: Terminal): string => stripVTControlCharacters(text);

/** Stops the engine in the middle of a format, so that there is something under way for as long as a test looks at it. */
async function stopEngineIn(
  target: string,
): Promise<{ readonly id: string; readonly pid: number }> {
  const api = new ApiClient([installationAt(rig.data)]);
  let found: OperationView | undefined;
  await until(async () => {
    const operations = await api.get<OperationView[]>('/v1/operations?state=running');
    found = operations.find((each) => each.target === target);
    return (found?.progress?.done ?? 0) > 0;
  });
  const { engine } = (await api.get<StatusView>('/v1/status')).processes;
  const pid = engine?.pid ?? 0;
  process.kill(pid, 'SIGSTOP');
  return { id: found?.id ?? '', pid };
}

test(
  'Ctrl-C leaves what takes long running and says how to see it; the same command finds it again',
  { timeout: 90_000 },
  async () => {
    const words = ['drive', 'add', 'slow', '--size', SLOW_SIZE];
    const first = onTerminal(words);
    const { id, pid } = await stopEngineIn('drive/slow');
    try {
      await first.until(/formatting it, \d+ % of 1 GiB, \d+ s/);
      first.type(CTRL_C);
      assert.equal(await first.end(), 130);
      assert.match(
        plain(first),
        new RegExp(`Left running: drive\\.add\\s+holdfast operation wait ${id}`),
      );
      const again = onTerminal(words);
      await again.until(/drive "slow": formatting it, \d+ %/);
      const waiting = onTerminal(['operation', 'wait', id]);
      await waiting.until(/drive "slow": formatting it, \d+ %/);
      process.kill(pid, 'SIGCONT');
      assert.equal(await again.end(), 0);
      assert.match(plain(again), /Drive "slow" of 1 GiB/);
      assert.equal(await waiting.end(), 0);
      assert.match(plain(waiting), /State\s+done/);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    const { out } = await rig.run(['operation', 'ls', '--output', 'json']);
    const all: OperationView[] = JSON.parse(out);
    assert.equal(all.filter(({ target }) => target === 'drive/slow').length, 1);
    await rig.json('drive', 'rm', 'slow', '--yes');
  },
);

test('the line of progress is one line, and nothing of it is left', async () => {
  const terminal = onTerminal(['drive', 'add', 'line', '--size', SLOW_SIZE], { columns: 40 });
  const { pid } = await stopEngineIn('drive/line');
  try {
    await until(() => terminal.text.split(REDRAW).length > 3);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  assert.equal(await terminal.end(), 0);
  const shown = terminal.text.split(REDRAW);
  for (const line of shown.slice(0, -1)) {
    assert.ok(stripVTControlCharacters(line).length < 40 && !line.includes('\n'), line);
  }
  assert.match(shown.at(-1) ?? '', /^Drive "line" of 1 GiB/);
  await rig.json('drive', 'rm', 'line', '--yes');
});

test('tables fit the terminal, and are whole where there is none', async () => {
  for (const columns of [40, 60, 80]) {
    const terminal = onTerminal(['drive', 'ls'], { columns });
    assert.equal(await terminal.end(), 0);
    const lines = plain(terminal).trimEnd().split(/\r?\n/);
    assert.match(lines[0] ?? '', /^NAME +SIZE/);
    for (const line of lines) assert.ok(line.length <= columns, `${columns}: ${line}`);
  }
  const whole = await rig.run(['drive', 'ls']);
  assert.ok(whole.out.includes(path.join(rig.data, 'drives', 'default.img')));
});

test('colors are for terminals, and NO_COLOR and FORCE_COLOR decide otherwise', async () => {
  const ESCAPE = '\u001B[';
  const colored = onTerminal(['drive', 'ls']);
  await colored.end();
  assert.ok(colored.text.includes(`${ESCAPE}32mopen`), colored.text);
  const without = onTerminal(['drive', 'ls'], { env: { NO_COLOR: '1' } });
  await without.end();
  assert.ok(!without.text.includes(ESCAPE), without.text);
  assert.ok(!(await rig.run(['drive', 'ls'])).out.includes(ESCAPE));
  const forced = await rig.run(['drive', 'ls'], { env: { FORCE_COLOR: '1' } });
  assert.ok(forced.out.includes(`${ESCAPE}32mopen`), forced.out);
  const json = onTerminal(['drive', 'ls', '--output', 'json']);
  await json.end();
  assert.ok(!json.text.includes(ESCAPE));
});

test('what destroys asks, says what will be gone, and does nothing without a yes', async () => {
  for (const [answer, isRemoved] of [
    ['n\r', false],
    ['\r', false],
    [CTRL_C, false],
    [CTRL_D, false],
    ['yes\r', true],
  ] as const) {
    await rig.json('volume', 'create', 'gone', '--size', '4MiB');
    const terminal = onTerminal(['volume', 'rm', 'gone', '--now']);
    await terminal.until(/Remove volume "gone" for good\?.*cannot be brought back.*\[y\/N\]/);
    terminal.type(answer);
    assert.equal(await terminal.end(), isRemoved ? 0 : 1, terminal.text);
    if (!isRemoved)
      assert.match(plain(terminal), /\[y\/N\].{0,4}[\r\n]+Nothing was changed[\r\n]+$/);
    const inspected = await rig.run(['volume', 'inspect', 'gone']);
    assert.equal(inspected.code, isRemoved ? 1 : 0, answer);
  }
  const foreign = path.join(rig.directory, 'foreign.img');
  fs.writeFileSync(foreign, 'dear');
  for (const words of [
    ['drive', 'rm', 'default'],
    ['uninstall'],
    ['trash', 'empty'],
    ['drive', 'add', 'over', '--path', foreign, '--size', '128MiB', '--force'],
  ]) {
    const terminal = onTerminal(words);
    await terminal.until(/(brought back|lost, for good).*\[y\/N\]/);
    terminal.type('n\r');
    assert.equal(await terminal.end(), 1);
  }
  assert.equal(fs.readFileSync(foreign, 'utf8'), 'dear');
});

test('a removal into no trash is asked for as what it is', async () => {
  await rig.json('settings', 'set', 'trash-retention=none');
  const terminal = onTerminal(['volume', 'rm', 'data']);
  await terminal.until(/Remove volume "data" for good\?.*cannot be brought back.*\[y\/N\]/);
  terminal.type('n\r');
  assert.equal(await terminal.end(), 1);
  await rig.json('settings', 'set', 'trash-retention=24h');
});

test('a removal of what is not there says what it may have meant', async () => {
  const { out, code } = await rig.run(['volume', 'rm', 'dota', '--yes']);
  assert.deepEqual([code, out], [0, 'There was no volume "dota", did you mean "data"?\n']);
  const drive = await rig.run(['drive', 'rm', 'defualt', '--yes']);
  assert.match(drive.out, /There was no drive "defualt", did you mean "default"\?/);
  const check = await rig.run(['drive', 'check', 'defualt']);
  assert.match(check.err, /There is no drive "defualt", did you mean "default"\?/);
  assert.equal(check.code, 1);
});

test('--watch draws over itself on a terminal', async () => {
  const terminal = onTerminal(['volume', 'ls', '--watch']);
  await terminal.until(/data +64 MiB/);
  await rig.json('volume', 'create', 'seen', '--size', '8MiB');
  await until(() => terminal.text.split(CLEAR).some((screen) => /seen +8 MiB/.test(screen)));
  const screens = terminal.text.split(CLEAR);
  assert.ok(screens.length > 2, 'each screen begins by clearing the one before');
  for (const screen of screens.slice(1)) assert.match(stripVTControlCharacters(screen), /^NAME/);
  terminal.type(CTRL_C);
  assert.equal(await terminal.end(), 130);
  await rig.json('volume', 'rm', 'seen', '--now', '--yes');
});

test('--watch --output json prints a line for each change, and outlives control', async () => {
  const child = rig.start(['volume', 'ls', '--watch', '--output', 'json']);
  let out = '';
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  const names = (): string[][] =>
    out
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { name: string }[]).map(({ name }) => name));
  try {
    await until(() => names().length === 1);
    await rig.json('volume', 'create', 'one', '--size', '8MiB');
    await until(() => names().at(-1)?.includes('one') === true);
    const status = await rig.json('status');
    const { control } = status['processes'] as Record<string, { pid: number }>;
    process.kill(control!.pid, 'SIGKILL');
    await until(
      async () => (await rig.run(['volume', 'create', 'two', '--size', '8MiB'])).code === 0,
    );
    await until(() => names().at(-1)?.includes('two') === true);
    const lines = out.split('\n').slice(0, -1);
    assert.equal(new Set(lines).size, lines.length, 'no line is told twice');
  } finally {
    child.kill('SIGKILL');
  }
  const down = await rig.run(['status', '--watch', '--data', path.join(rig.directory, 'none')]);
  assert.equal(down.code, 3, 'nothing is watched where nothing runs');
});
