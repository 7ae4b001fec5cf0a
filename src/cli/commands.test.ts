import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Command } from 'commander';

import { COMMANDS } from './commands.ts';

test('commands are found by their first words', async () => {
  for (const { words, add } of COMMANDS) {
    const program = new Command();
    (await add())(program);
    assert.deepEqual(
      program.commands.map((command) => command.name()),
      words,
    );
  }
});
