/** holdfast store …: where the records are kept, their backup, and their move from one store to another. */

import fs from 'node:fs';

import type { Command } from 'commander';

import {
  type Installation,
  isInstallation,
  makeDirectories,
  refuseForeign,
  replaceFile,
} from '../../control/installation.ts';
import { lockWritable } from '../../control/installation-lock.ts';
import { etcdSettingsOf, readStore, sqliteFileOf } from '../../control/open-store.ts';
import { chooseEtcd, moveToEtcd, moveToSqlite, restoreEntries } from '../../control/store-move.ts';
import {
  readStoreSettings,
  sharedFileOf,
  storeFileOf,
  storeInWords,
} from '../../control/store-settings.ts';
import type { LocalCluster } from '../../control/local-cluster.ts';
import { isServing } from '../../control/service-manager.ts';
import { isAlive } from '../../attacher/process-identity.ts';
import { readSupervisor } from '../../control/supervisor-state.ts';
import { readNode } from '../../env/node/node-identity.ts';
import { backupOf, formatBackup, parseBackup } from '../../metadata/backup.ts';
import { Refusal } from '../../model/errors.ts';
import { addYes, confirm } from '../confirm.ts';
import { addCommand, contextOf, nodesOf } from '../context.ts';
import { isServed } from './services.ts';

/** Adds `holdfast store` with its subcommands. */
export function addStoreCommands(program: Command): void {
  const store = program
    .command('store')
    .description('Where the records of drives and volumes are kept: SQLite or etcd');
  addCommand(store, 'backup <file>', {
    purpose: 'Writes all records into a file. Volumes are not in it.',
    example: 'holdfast store backup records.backup',
    isLocal: true,
  }).action(backup);
  addYes(
    addCommand(store, 'restore <file>', {
      purpose: 'Replaces all records by those of a backup, after holdfast down.',
      example: 'holdfast store restore records.backup',
      isLocal: true,
    }),
  ).action(restore);
  addCommand(store, 'migrate', {
    purpose: 'Moves the records to another store, after holdfast down.',
    example: 'holdfast store migrate --to etcd.json',
    isLocal: true,
  })
    .requiredOption('--to <store>', 'a file with the settings of an etcd, or sqlite')
    .action(migrate);
}

async function backup(file: string, _: object, command: Command): Promise<void> {
  const { installation, output } = contextOf(command);
  const { directory } = installation;
  const store = await readStore(directory);
  if (store === undefined) throw noRecords(installation);
  const made = await backupOf(store).finally(() => store.close());
  replaceFile(file, formatBackup(made));
  const view = { file, entries: made.entries.length, revision: made.revision };
  output.result(view, `Wrote ${view.entries} records of ${whereOf(directory)} into "${file}"`);
}

async function restore(file: string, options: { yes?: boolean }, command: Command): Promise<void> {
  const { cluster, installation, output } = contextOf(command);
  const { directory } = installation;
  const entries = parseBackup(fs.readFileSync(file, 'utf8'), file);
  refuseForeign(directory);
  const where = whereOf(directory);
  const question = `Replace all records in ${where} by the ${entries.length} of "${file}"?`;
  await confirm(options.yes === true, question);
  refuseNodes(directory, cluster);
  await alone(installation, () => restoreEntries(directory, entries));
  output.result(
    { entries: entries.length },
    `${where} has the ${entries.length} records of "${file}"`,
  );
}

async function migrate(_: { to: string }, command: Command): Promise<void> {
  const { installation, output } = contextOf(command);
  const { directory } = installation;
  const { to } = command.opts<{ to: string }>();
  if (!isInstallation(directory)) throw noRecords(installation);
  const settings = to === 'sqlite' ? undefined : readStoreSettings(to);
  const from = whereOf(directory);
  if ((settings === undefined ? sqliteFileOf(directory) : storeInWords(settings)) === from) {
    output.result({ entries: 0 }, `The records are in ${from} already`);
    return;
  }
  if (readNode(directory) !== undefined) {
    throw new Refusal('INPUT_INVALID', { problem: `the nodes of a cluster share ${from}` });
  }
  const isBetweenEtcds = settings !== undefined && etcdSettingsOf(directory) !== undefined;
  if (isBetweenEtcds) {
    throw new Refusal('INPUT_INVALID', {
      problem: `the records are in ${from}; move them to sqlite first (--to sqlite)`,
    });
  }
  const entries = await alone(installation, () =>
    settings === undefined ? moveToSqlite(directory) : moveToEtcd(directory, settings),
  );
  output.result({ entries }, `Moved ${entries} records from ${from} to ${whereOf(directory)}`);
}

/**
 * Has a new installation keep its records in the etcd of `file`. Throws STORE_SETTINGS where it has them elsewhere already.
 */
export async function chooseStore(installation: Installation, file: string): Promise<void> {
  const { directory } = installation;
  const settings = readStoreSettings(file);
  if (isInstallation(directory)) {
    const where = whereOf(directory);
    if (where === storeInWords(settings)) return;
    const problem = `the records of this installation are in ${where}. holdfast store migrate --to ${file} moves them`;
    throw new Refusal('STORE_SETTINGS', { file, problem });
  }
  makeDirectories(installation);
  const lock = await lockWritable(installation);
  try {
    chooseEtcd(directory, settings);
  } finally {
    lock.release();
  }
}

/** The records of a cluster on this machine are all nodes'. Throws INSTALLATION_RUNNING where one runs. */
function refuseNodes(directory: string, cluster: LocalCluster | undefined): void {
  const shared = sharedFileOf(directory);
  if (shared !== undefined && cluster === undefined) {
    const problem = `the nodes of a cluster share ${shared}; give the directory of the cluster (--data)`;
    throw new Refusal('INPUT_INVALID', { problem });
  }
  for (const { directory: dataDir, runDirectory } of cluster === undefined
    ? []
    : nodesOf(cluster)) {
    const supervisor = readSupervisor(runDirectory);
    if (supervisor === undefined || !isAlive(supervisor)) continue;
    const { pid, startedAt: since } = supervisor;
    throw new Refusal('INSTALLATION_RUNNING', { dataDir, pid: String(pid), since });
  }
}

/** While nothing of the installation runs. Throws INSTALLATION_RUNNING. */
async function alone<T>(installation: Installation, work: () => Promise<T>): Promise<T> {
  makeDirectories(installation);
  const lock = await lockWritable(installation);
  try {
    if (isServed(installation) && (await isServing())) {
      const { directory: dataDir } = installation;
      throw new Refusal('INSTALLATION_RUNNING', { dataDir, pid: 'systemd', since: 'its start' });
    }
    return await work();
  } finally {
    lock.release();
  }
}

function whereOf(directory: string): string {
  const settings = etcdSettingsOf(directory);
  return settings === undefined ? sqliteFileOf(directory) : storeInWords(settings);
}

function noRecords({ directory }: Installation): Refusal {
  return new Refusal('PATH_INVALID', {
    path: fs.existsSync(storeFileOf(directory)) ? storeFileOf(directory) : directory,
    problem: 'there are no records of Holdfast in it',
  });
}
