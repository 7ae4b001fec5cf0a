/** What every command has: the installation, its API, the output. */

import fs from 'node:fs';
import { isIP } from 'node:net';

import type { Command } from 'commander';

import { isLoopback } from '../control/api-address.ts';
import { type Installation, installationAt } from '../control/installation.ts';
import { servedInstallation } from '../control/service-manager.ts';
import { Refusal } from '../model/errors.ts';
import { ApiClient, type TcpTarget } from './api-client.ts';
import { follower } from './follow.ts';
import { type Output, openOutput } from './output.ts';

export type Context = {
  readonly installation: Installation;
  readonly api: ApiClient;
  readonly output: Output;
};

/** Where an installation is, as the user said. */
type Whereabouts = {
  readonly data?: string | undefined;
  readonly api?: string | undefined;
  readonly tokenFile?: string | undefined;
};

/** The API of an installation, for requests that nothing is to be waited for. */
export function apiOf(options: Whereabouts): ApiClient {
  return new ApiClient(installationOf(options), { tcp: tcpOf(options) });
}

function installationOf({ data }: Whereabouts, fallback = defaultDirectory()): Installation {
  // An unset variable in a script is no wish for the current directory.
  if (data === '') throw new Refusal('INPUT_INVALID', { problem: '--data is empty' });
  return installationAt(data ?? (process.env['HOLDFAST_DATA'] || fallback));
}

/**
 * Reads the options that all commands share. `leaves`: Ctrl-C leaves what the API does for the command running, which is the default.
 * `fallback`: the installation where none is named.
 */
export function contextOf(
  command: Command,
  { leaves = true, fallback }: { readonly leaves?: boolean; readonly fallback?: string } = {},
): Context {
  const options = command.optsWithGlobals<Whereabouts & { readonly output?: string }>();
  const kind = options.output ?? 'text';
  if (kind !== 'text' && kind !== 'json') {
    throw new Refusal('INPUT_INVALID', { problem: `--output is text or json, not "${kind}"` });
  }
  const installation = installationOf(options, fallback);
  const output = openOutput(kind);
  const follow = follower(output, { leaves });
  const api = new ApiClient(installation, { tcp: tcpOf(options), follow });
  return { installation, api, output };
}

const HERE = '.holdfast';

/** The installation here, or the machine's own where there is one. */
function defaultDirectory(): string {
  return fs.existsSync(HERE) ? HERE : (servedInstallation() ?? HERE);
}

/** Adds a command with its purpose, an example that the tests run, and the options that all share. */
export function addCommand(
  parent: Command,
  usage: string,
  about: {
    readonly purpose: string;
    readonly example: string;
    /** It works on the machine's files and processes, and not by the API. */
    readonly isLocal?: boolean;
  },
): Command {
  const command = parent
    .command(usage)
    .description(about.purpose)
    .option(
      '--data <dir>',
      'the installation (default: $HOLDFAST_DATA, ./.holdfast, or the one of holdfast install)',
    )
    .option('--output <kind>', 'text or json (default: text)')
    .addHelpText('after', `\nExample:\n  ${about.example}\n`);
  if (about.isLocal === true) return command;
  return command
    .option('--api <url>', 'the API over TCP, such as http://127.0.0.1:7070, in place of --data')
    .option('--token-file <file>', 'its token (default: $HOLDFAST_TOKEN)');
}

function tcpOf({ api, tokenFile }: Whereabouts): TcpTarget | undefined {
  if (api === undefined) return undefined;
  const url = URL.canParse(api) ? new URL(api) : undefined;
  const address = url?.hostname.replaceAll(/^\[|\]$/g, '') ?? '';
  if (url?.protocol !== 'http:' || url.pathname !== '/' || !isLoopback(address)) {
    const problem =
      isIP(address) === 0 || isLoopback(address)
        ? `--api is http://127.0.0.1:PORT, not "${api}"`
        : `--api is http://127.0.0.1:PORT: "${address}" is another machine, and there is no TLS yet`;
    throw new Refusal('INPUT_INVALID', { problem });
  }
  const token =
    tokenFile === undefined ? process.env['HOLDFAST_TOKEN'] : fs.readFileSync(tokenFile, 'utf8');
  return { url, token: token?.trim() };
}
