/** Completion in real shells: commands, options, choices, files, and the names of the installation that runs; silence where there is none. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';

import { newProgram } from '../src/cli/cli-main.ts';
import { candidatesFor } from '../src/cli/complete.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';
import { Terminal } from './rigs/terminal.ts';

const BIN = path.dirname(new URL('../bin/holdfast', import.meta.url).pathname);
let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
  await rig.up();
  for (const name of ['data', 'database', 'logs'])
    await rig.json('volume', 'create', name, '--size', '4MiB');
  await rig.json('drive', 'add', 'fast', '--size', '128MiB', '--sparse');
  fs.mkdirSync(path.join(rig.directory, 'folder one'));
});

after(async () => {
  await rig.run(['down']);
  await rig.close();
});

function has(shell: string): { readonly skip?: string } {
  const found = spawnSync(shell, ['--version']).error === undefined;
  return found ? {} : { skip: `${shell} is not installed` };
}

function environment(): Record<string, string> {
  return { PATH: `${BIN}:${process.env['PATH'] ?? ''}`, HOLDFAST_DATA: rig.data };
}

/** What fits, in this process: a program's start is not what is tested. */
async function candidates(...words: string[]): Promise<string[]> {
  process.env['HOLDFAST_DATA'] = rig.data;
  const found = await candidatesFor(await newProgram(), words);
  return found === 'files' ? [':files'] : found.map(([word]) => word);
}

test('the program knows what fits', async () => {
  assert.deepEqual(await candidates('vol'), ['volume']);
  assert.deepEqual(await candidates('volume', 'un'), ['unmount']);
  assert.deepEqual(await candidates('volume', 'rm', 'da'), ['data', 'database']);
  assert.deepEqual(await candidates('volume', 'rm', ''), ['data', 'database', 'logs']);
  assert.deepEqual(await candidates('volume', 'rm', '--yes', 'l'), ['logs']);
  assert.deepEqual(await candidates('volume', 'rm', 'data', ''), [], 'it takes one name');
  assert.deepEqual(await candidates('volume', 'create', 'da'), [], 'a new name is nobody’s');
  assert.deepEqual(await candidates('volume', 'create', 'x', '--drive', ''), ['default', 'fast']);
  assert.deepEqual(await candidates('drive', 'rm', 'f'), ['fast']);
  assert.deepEqual(await candidates('explain', 'volume', 'lo'), ['logs']);
  assert.deepEqual(await candidates('volume', 'mount', 'data', '--fs', ''), ['ext4', 'xfs']);
  assert.deepEqual(await candidates('volume', 'mount', 'data', '--fs=x'), ['--fs=xfs']);
  assert.deepEqual(await candidates('volume', 'mount', 'data', '--fs', '=', 'x'), ['xfs']);
  assert.deepEqual(await candidates('status', '--output', 'j'), ['json']);
  assert.deepEqual(await candidates('status', '--da'), ['--data']);
  assert.deepEqual(await candidates('volume', 'mount', 'data', '--at', '/'), [':files']);
  assert.deepEqual(await candidates('operation', 'wait', ''), ['last']);
  assert.deepEqual(await candidates('completion', ''), ['bash', 'zsh', 'fish']);
  assert.deepEqual(await candidates('volume', 'rm', '--data', '/nowhere', ''), []);
  assert.deepEqual(
    await candidates('nothing', ''),
    await candidates(''),
    'as if it were not there',
  );
});

test('where nothing runs there are no names, and no words about it', async () => {
  const env = { HOLDFAST_DATA: path.join(rig.directory, 'none') };
  for (const words of [
    ['volume', 'rm', ''],
    ['volume', 'rm', '--data', '', ''],
    ['volume', 'rm', '--api', 'http://10.0.0.1:1', ''],
  ]) {
    const ended = await rig.run(['complete', '--', ...words], { env });
    assert.deepEqual(ended, { code: 0, out: '', err: '' });
  }
});

/** Types a line that ends in TABs into an interactive shell, and shows what the line has become. */
async function typed(shell: Terminal, line: string, wanted: RegExp): Promise<void> {
  const known = shell.text.length;
  shell.type(line);
  try {
    const { until } = await import('./rigs/attach-rig.ts');
    await until(() => wanted.test(stripVTControlCharacters(shell.text.slice(known))));
  } catch {
    const shown = stripVTControlCharacters(shell.text.slice(known));
    assert.fail(`${JSON.stringify(line)} became ${JSON.stringify(shown)}, not ${wanted}`);
  }
  // Ctrl-U: the line is empty again.
  shell.type('\u0015');
}

const CASES: readonly (readonly [typed: string, becomes: RegExp])[] = [
  ['holdfast vol\t', /holdfast volume /],
  ['holdfast volume unm\t', /volume unmount /],
  ['holdfast volume unmount lo\t', /unmount logs /],
  ['holdfast volume unmount data\t\t', /data\s+database|database\s+data/],
  ['holdfast drive rm fa\t', /rm fast /],
  ['holdfast volume mount logs --fo\t', /--force /],
  ['holdfast volume mount logs --fs x\t', /--fs xfs/],
  ['holdfast status --output js\t', /--output json/],
];

for (const [name, words, setUp] of [
  ['bash', ['bash', '--norc', '--noprofile', '-i'], 'eval "$(holdfast completion bash)"'],
  [
    'zsh',
    ['zsh', '-f', '-i'],
    'autoload -Uz compinit && compinit -u -D && source <(holdfast completion zsh)',
  ],
] as const) {
  test(`${name} completes`, { ...has(name), timeout: 60_000 }, async () => {
    const env = { ...environment(), PS1: '$ ', HOME: rig.directory };
    const shell = new Terminal(words, { columns: 100, env });
    try {
      shell.type(`cd ${rig.directory}; ${setUp}; echo rea''dy\r`);
      await shell.until(/ready\r?\n/);
      for (const [line, becomes] of CASES) await typed(shell, line, becomes);
      await typed(shell, 'holdfast volume mount logs --at fol\t', /--at folder\\ one\//);
      shell.type("unset HOLDFAST_DATA; echo do''ne\r");
      await shell.until(/done\r?\n/);
      const known = shell.text.length;
      await typed(
        shell,
        "holdfast volume unmount lo\t\u0015echo still-'here'\r",
        /still-here\r?\n/,
      );
      assert.doesNotMatch(shell.text.slice(known), /Cannot|does not run|logs/);
    } finally {
      shell.kill();
    }
  });
}

test('fish completes', { ...has('fish'), timeout: 60_000 }, () => {
  const complete = (line: string): string[] =>
    execFileSync(
      'fish',
      ['--no-config', '-c', `holdfast completion fish | source; complete -C '${line}'`],
      {
        cwd: rig.directory,
        env: { ...process.env, ...environment(), HOME: rig.directory },
        encoding: 'utf8',
      },
    )
      .trimEnd()
      .split('\n')
      .map((each) => each.split('\t')[0] ?? '');
  assert.deepEqual(complete('holdfast vol'), ['volume']);
  assert.deepEqual(complete('holdfast volume unmount da'), ['data', 'database']);
  assert.deepEqual(complete('holdfast drive rm '), ['default', 'fast']);
  assert.deepEqual(complete('holdfast volume mount logs --fs '), ['ext4', 'xfs']);
  assert.deepEqual(complete('holdfast volume mount logs --fs=x'), ['--fs=xfs']);
  assert.deepEqual(complete('holdfast volume mount logs --at fol'), ['folder one/']);
  assert.deepEqual(complete('holdfast volume rm --data /nowhere x'), ['']);
});
