/** What every command has: the installation, its API, the output. */

import fs from 'node:fs';
import { isIP } from 'node:net';
import path from 'node:path';

import type { Command } from 'commander';

import { isLoopback } from '../control/api-address.ts';
import { type Installation, installationAt } from '../control/installation.ts';
import { type LocalCluster, nodeDirectoryOf, readLocalCluster } from '../control/local-cluster.ts';
import { servedInstallation } from '../control/served-installation.ts';
import { Refusal } from '../model/errors.ts';
import { ApiClient, type TcpTarget } from './api-client.ts';
import { follower } from './follow.ts';
import { type Output, openOutput, saidOf } from './output.ts';

export type Context = {
  /** Of a cluster on this machine that of the node which is named, or of the first one. */
  readonly installation: Installation;
  readonly cluster: LocalCluster | undefined;
  /** Of a cluster on this machine that of the node which is named, or of the first one that is there. */
  readonly api: ApiClient;
  readonly output: Output;
};

/** Where an installation is, as the user said. */
type Whereabouts = {
  readonly data?: string | undefined;
  readonly node?: string | undefined;
  readonly api?: string | undefined;
  readonly tokenFile?: string | undefined;
};

/** The API of an installation, for requests that nothing is to be waited for. */
export function apiOf(options: Whereabouts): ApiClient {
  const { installations } = installationsAt(directoryOf(options), options.node);
  return new ApiClient(installations, { tcp: tcpOf(options) });
}

function directoryOf({ data }: Whereabouts, fallback = defaultDirectory()): string {
  // An unset variable in a script is no wish for the current directory.
  if (data === '') throw new Refusal('INPUT_INVALID', { problem: '--data is empty' });
  return data ?? (process.env['HOLDFAST_DATA'] || fallback);
}

/** The installation in `directory`, or the nodes of the cluster there, or the one of that name. Throws INPUT_INVALID. */
function installationsAt(
  directory: string,
  node: string | undefined,
): {
  readonly cluster: LocalCluster | undefined;
  readonly installations: readonly [Installation, ...Installation[]];
} {
  const own = installationAt(directory);
  const cluster = readLocalCluster(own.directory);
  if (node !== undefined) refuseUnknown(node, cluster);
  const names = cluster?.nodes.filter((name) => name === (node ?? name)) ?? [];
  const [first = own, ...others] = nodesOf({ directory: own.directory, nodes: names });
  return { cluster, installations: [first, ...others] };
}

function refuseUnknown(node: string, cluster: LocalCluster | undefined): void {
  if (cluster?.nodes.includes(node) === true) return;
  const problem =
    cluster === undefined
      ? '--node is for a cluster on this machine (holdfast up --nodes)'
      : `there is no node "${node}" on this machine, only ${cluster.nodes.join(', ')}`;
  throw new Refusal('INPUT_INVALID', { problem });
}

/** The installations of nodes of a cluster on this machine. */
export const nodesOf = ({
  directory,
  nodes,
}: Pick<LocalCluster, 'directory' | 'nodes'>): readonly Installation[] =>
  nodes.map((node) => installationAt(nodeDirectoryOf({ directory }, node)));

/** The same command on one node of a cluster. What it says is said of the node. */
export function onNode({ output }: Context, installation: Installation): Context {
  const named = saidOf(output, path.basename(installation.directory));
  const api = new ApiClient([installation], { follow: follower(named, { leaves: false }) });
  return { installation, cluster: undefined, api, output: named };
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
  const { cluster, installations } = installationsAt(directoryOf(options, fallback), options.node);
  const output = openOutput(kind);
  const follow = follower(output, { leaves });
  const api = new ApiClient(installations, { tcp: tcpOf(options), follow, cluster });
  return { installation: installations[0], cluster, api, output };
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
    .option(
      '--node <name>',
      'of a cluster on this machine, the node to ask (default: the first that is there)',
    )
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
