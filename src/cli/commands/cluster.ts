/** holdfast cluster … */

import fs from 'node:fs';
import path from 'node:path';

import type { Command } from 'commander';

import { makeDirectories, refuseForeign } from '../../control/installation.ts';
import { lockWritable } from '../../control/installation-lock.ts';
import { initCluster } from '../../control/new-cluster.ts';
import type { NodeWish } from '../../control/node-files.ts';
import { parseNodeAddress } from '../../control/node-ports.ts';
import { findEtcd } from '../../control/own-etcd.ts';
import { readStoreSettings } from '../../control/store-settings.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { formatTcpAddress } from '../../env/tcp-address.ts';
import { Refusal } from '../../model/errors.ts';
import { isNodeName } from '../../model/ids.ts';
import type { NodeLabels } from '../../model/records.ts';
import { type Context, addCommand, contextOf } from '../context.ts';

/** What a node of a cluster of machines is made of. */
export type NodeOptions = {
  readonly name: string;
  readonly listen: string;
  readonly region?: string;
  readonly zone?: string;
  readonly rack?: string;
};

/** Adds `holdfast cluster` with its subcommands. */
export function addClusterCommands(program: Command): void {
  const cluster = program.command('cluster').description('A cluster of machines');
  addNodeOptions(
    addCommand(cluster, 'init', {
      purpose:
        'Makes this machine the first node of a cluster, with an authority of its own. holdfast up starts it; holdfast node token lets others join.',
      example: 'holdfast cluster init --name a --listen 10.0.0.1',
      isLocal: true,
    }),
  )
    .option(
      '--store <file>',
      'the settings of an etcd of yours that is to have its records (default: an etcd of its own, on the first three nodes)',
    )
    .action(async (options: NodeOptions & { store?: string }, command: Command) => {
      const context = contextOf(command);
      const { installation, output } = context;
      const { directory } = installation;
      const wish = wishOf(options);
      const store = options.store === undefined ? undefined : readStoreSettings(options.store);
      if (store === undefined) findEtcd();
      const id = await makeNode(context, () => initCluster(directory, { ...wish, store }));
      output.result(
        { cluster: id, node: wish.node, dataDir: directory },
        `"${directory}" is node "${wish.node}" of the new cluster ${id}, at ${formatTcpAddress(wish.peer)}. holdfast up starts it, and holdfast node token then lets others join`,
      );
    });
}

/** Adds the options by which a machine says which node it is to be. */
export function addNodeOptions(command: Command): Command {
  return command
    .requiredOption('--name <name>', 'of the node: small letters, digits and "-"')
    .requiredOption(
      '--listen <address>',
      'an address of this machine, at which the other nodes reach it, and the first of four ports: 10.0.0.1, or 10.0.0.1:7171',
    )
    .option('--region <label>', 'where it is')
    .option('--zone <label>', 'where it is')
    .option('--rack <label>', 'where it is');
}

/** What the options say of the node. Throws INPUT_INVALID, ADDRESS_REFUSED. */
export function wishOf({
  name: node,
  listen,
  region = '',
  zone = '',
  rack = '',
}: NodeOptions): NodeWish {
  const refused = (problem: string): Refusal => new Refusal('INPUT_INVALID', { problem });
  if (!isNodeName(node)) throw refused('--name is 1 to 64 small letters, digits and "-"');
  const labels: NodeLabels = { region, zone, rack };
  const wrong = Object.entries(labels).find(([, label]) => !/^[\w.-]{0,63}$/.test(label));
  if (wrong !== undefined) {
    throw refused(`--${wrong[0]} is up to 63 letters, digits, "_", "." and "-"`);
  }
  return { node, labels, peer: parseNodeAddress(listen) };
}

/** Has `work` make a node of an installation that is nothing yet, or that node already. Throws INSTALLATION_FOREIGN, INSTALLATION_RUNNING. */
export async function makeNode<T>(
  { installation }: Context,
  work: () => T | Promise<T>,
): Promise<T> {
  const { directory } = installation;
  refuseForeign(directory);
  const isUsed = ['state.db', 'engine.json'].some((name) =>
    fs.existsSync(path.join(directory, name)),
  );
  if (isUsed && readNode(directory) === undefined) {
    const problem =
      'a single machine is in it, and it stays one. Give the node another directory (--data DIR)';
    throw new Refusal('INSTALLATION_FOREIGN', { path: directory, problem });
  }
  makeDirectories(installation);
  const lock = await lockWritable(installation);
  try {
    return await work();
  } finally {
    lock.release();
  }
}
