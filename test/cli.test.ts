/** The CLI's commands: their help, their examples run one after the other, JSON, exit codes, hints. */

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';

import type { Command } from 'commander';

import { newProgram } from '../src/cli/cli-main.ts';
import { whyNot } from './rigs/attach-rig.ts';
import { CliRig } from './rigs/cli-rig.ts';
import { sweepEarlierTests } from './rigs/control-rig.ts';

const withoutDevices = whyNot('mkfs.ext4');
const NEEDS_DEVICE = ['volume mount', 'volume trim', 'volume unmount'];
let rig: CliRig;

before(async () => {
  await sweepEarlierTests();
  rig = new CliRig();
});

after(async () => {
  await rig.run(['down']);
  await rig.close();
});

/** Commands that do something, with their words. */
function leaves(command: Command, words: readonly string[] = []): [string, Command][] {
  if (command.commands.length === 0) return [[words.join(' '), command]];
  return command.commands.flatMap((child) => leaves(child, [...words, child.name()]));
}

/** The line below "Example:" in a command's help. */
async function exampleOf(words: string): Promise<string> {
  const { out, code } = await rig.run([...words.split(' '), '--help']);
  assert.equal(code, 0, words);
  const example = /^Example:\n {2}(holdfast .*)$/m.exec(out)?.[1];
  assert.ok(example !== undefined, `"${words} --help" has an example`);
  return example;
}

test('every command has help with a purpose and an example of itself', async () => {
  const commands = leaves(await newProgram());
  const examples = await Promise.all(commands.map(([words]) => exampleOf(words)));
  for (const [index, [words, command]] of commands.entries()) {
    assert.match(command.description(), /^[A-Z].*\.$/, `${words}: its purpose is a sentence`);
    assert.ok(examples[index]?.startsWith(`holdfast ${words}`), words);
  }
});

/** Examples in an order in which each can do what it says; between them, what they need. */
const SCRIPT: readonly string[] = [
  'up',
  'status',
  'drive add',
  'drive ls',
  'drive grow',
  'drive rm',
  'volume create',
  'volume ls',
  'volume inspect',
  'volume label',
  'volume attach',
  'volume detach',
  'volume resize',
  'volume mount',
  'upgrade',
  'volume trim',
  'volume unmount',
  'events',
  'explain volume',
  'doctor',
  'diagnostics',
  'volume auto-grow',
  'volume rm',
  'trash ls',
  'trash restore',
  'trash empty',
  'settings show',
  'settings set',
  'operation ls',
  'operation show',
  'operation wait',
  'token show',
  'token rotate',
  'completion',
  'docker enable',
  'docker ls',
  'docker disable',
  'install',
  'down',
  'drive check',
  'sim',
  'uninstall',
];

const FOR_PEOPLE: readonly string[] = [
  'status',
  'drive ls',
  'volume ls',
  'volume inspect',
  'volume label',
  'volume attach',
  'events',
  'trash ls',
  'trash empty',
  'settings show',
  'settings set',
  'operation ls',
  'operation show',
  'docker ls',
  'down',
];

test('every example runs, and prints JSON when asked', { timeout: 400_000 }, async () => {
  const known = leaves(await newProgram()).map(([words]) => words);
  // Tests of their own run the examples of those that need no installation, or one that is down, or etcd.
  const rest = known.filter(
    (words) =>
      !/^(verify-durability|store |cluster |node |drive (cordon|uncordon|drain|replace|adopt)$|what-if |explain placement|volume (scale|move-replica|scrub)$)/.test(
        words,
      ),
  );
  assert.deepEqual(rest.toSorted(), SCRIPT.toSorted(), 'each command is in the script');
  // The examples name the default directory, .holdfast.
  const cwd = rig.directory;
  const env = { HOLDFAST_DATA: path.join(rig.directory, '.holdfast') };
  for (const words of SCRIPT) {
    if (withoutDevices !== undefined && NEEDS_DEVICE.includes(words)) continue;
    const [, ...example] = (await exampleOf(words)).split(' ');
    const ended = await rig.run([...example, '--output', 'json'], { cwd, env });
    assert.equal(ended.code, 0, `${example.join(' ')}: ${ended.err}`);
    assert.equal(typeof JSON.parse(ended.out), 'object', `${words} prints JSON`);
    // Once more, for people.
    if (!FOR_PEOPLE.includes(words)) continue;
    const again = await rig.run(example, { cwd, env });
    assert.equal(again.code, 0, `${example.join(' ')} again: ${again.err}`);
    assert.notEqual(again.out.trim(), '', words);
  }
});

test('usage errors end with 2 and name the way out', async () => {
  for (const [words, hint] of [
    [['volum', 'ls'], /Did you mean volume\?/],
    [['volume', 'lss'], /Did you mean ls\?/],
    [['volume', 'create', 'x', '--size', '1GiB', '--driv', 'd'], /Did you mean --drive\?/],
    [['volume', 'create', 'x'], /--size/],
    [['volume', 'create', 'x', '--size', '1XB'], /Write a size such as 10GiB/],
    [['volume', 'create', 'x', '--size', '0'], /it is zero/],
    [['volume', 'create', 'x', '--size', '-1'], /not a number with a unit/],
    [['up', '--drive-size', 'much'], /not a number with a unit/],
    [['status', '--output', 'yaml'], /text or json, not "yaml"/],
    [['volume', 'inspect'], /missing required argument/],
    [['drive', 'ls', 'extra'], /too many arguments/],
    [['uninstall'], /Cannot ask without a terminal: "Delete .*\n--yes answers it/],
    [['drive', 'rm', 'x'], /Cannot ask .*\n--yes/],
    [['drive', 'add', 'x', '--size', '1GiB', '--force'], /Cannot ask .*\n--yes/],
    [['drive', 'replace', 'x', '/x', '--force'], /Cannot ask .*\n--yes/],
    [['volume', 'rm', 'x', '--now'], /Cannot ask .*\n--yes/],
  ] as const) {
    const ended = await rig.run(words);
    assert.equal(ended.code, 2, `${words.join(' ')}: ${ended.err}`);
    assert.match(ended.err, hint, words.join(' '));
    assert.equal(ended.out, '', 'nothing on standard output');
    if (words.some((word) => word === '--output')) continue;
    const forPrograms = await rig.run([...words, '--output', 'json']);
    assert.equal(forPrograms.code, 2);
    const problem: unknown = JSON.parse(forPrograms.err);
    assert.ok(typeof problem === 'object' && problem !== null && 'code' in problem);
    assert.match(String(problem.code), /^[A-Z]+_[A-Z_]+$/, words.join(' '));
  }
});

test('what is down ends with 3, in words and in JSON', async () => {
  for (const words of [
    ['status'],
    ['volume', 'ls'],
    ['drive', 'rm', 'x', '--yes'],
    ['volume', 'rm', 'x'],
    ['volume', 'mount', 'x'],
  ]) {
    const ended = await rig.run(words);
    assert.equal(ended.code, 3, words.join(' '));
    assert.match(ended.err, /does not run in .*\nholdfast up starts it/);
    const json = await rig.run([...words, '--output=json']);
    assert.equal(json.code, 3);
    assert.equal(JSON.parse(json.err).code, 'INSTALLATION_DOWN');
  }
});

test('--version and --help end with 0', async () => {
  const version = await rig.run(['--version']);
  assert.equal(version.code, 0);
  assert.match(version.out, /^\d+\.\d+\.\d+\n$/);
  const help = await rig.run(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /Example:/);
});
