/** What every command has: the installation, its API, the output. */

import type { Command } from 'commander';

import { type Installation, installationAt } from '../control/installation.ts';
import { Refusal } from '../model/errors.ts';
import { ApiClient } from './api-client.ts';
import { type Output, openOutput } from './output.ts';

export type Context = {
  readonly installation: Installation;
  readonly api: ApiClient;
  readonly output: Output;
};

/** Reads the options that all commands share. */
export function contextOf(command: Command): Context {
  const { data, output } = command.optsWithGlobals<{ data?: string; output?: string }>();
  const kind = output ?? 'text';
  if (kind !== 'text' && kind !== 'json') {
    throw new Refusal('INPUT_INVALID', { problem: `--output is text or json, not "${kind}"` });
  }
  // An unset variable in a script is no wish for the current directory.
  if (data === '') throw new Refusal('INPUT_INVALID', { problem: '--data is empty' });
  const directory = data ?? (process.env['HOLDFAST_DATA'] || '.holdfast');
  const installation = installationAt(directory);
  return { installation, api: new ApiClient(installation), output: openOutput(kind) };
}

/** Adds a command with its purpose, an example that the tests run, and the options that all share. */
export function addCommand(
  parent: Command,
  usage: string,
  about: { readonly purpose: string; readonly example: string },
): Command {
  return parent
    .command(usage)
    .description(about.purpose)
    .option('--data <dir>', 'the installation (default: $HOLDFAST_DATA or ./.holdfast)')
    .option('--output <kind>', 'text or json (default: text)')
    .addHelpText('after', `\nExample:\n  ${about.example}\n`);
}
