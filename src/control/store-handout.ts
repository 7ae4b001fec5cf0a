/** What the nodes of a cluster need to reach its etcd: handed out by one that has it, written by one that joins. */

import fs from 'node:fs';
import path from 'node:path';

import { makeDirectory } from '../env/node/make-directory.ts';
import { tlsFilesOf } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import { replaceFile } from './installation.ts';
import type { JoinAnswer } from './join-protocol.ts';
import { etcdSettingsOf } from './open-store.ts';
import { type StoreSettings, storeFileOf } from './store-settings.ts';

/** Where the files that an etcd's settings name go, below DIR. */
const HANDED_OUT = {
  caFile: 'tls/store-ca.pem',
  certFile: 'tls/store-client.pem',
  keyFile: 'tls/store-client.key',
  passwordFile: 'tls/store-password',
} as const;

type FileField = keyof typeof HANDED_OUT;
const FIELDS = Object.keys(HANDED_OUT) as readonly FileField[];

/** The settings of the installation in `directory`, with the contents of their files. Throws STORE_SETTINGS, JOIN_NOT_TAKEN. */
export function storeForNodes(directory: string, cluster: string): JoinAnswer['store'] {
  const settings = etcdSettingsOf(directory);
  if (settings === undefined) {
    const problem = 'its records are in SQLite, on this machine';
    throw new Refusal('JOIN_NOT_TAKEN', { problem });
  }
  return handoutOf(settings, { directory, cluster });
}

/**
 * The same of settings that are not those of the installation yet. Files of the node itself, which every node has its own of, are named and
 * not handed out.
 */
export function handoutOf(
  settings: StoreSettings,
  { directory, cluster }: { readonly directory: string; readonly cluster: string },
): JoinAnswer['store'] {
  const own = Object.values(tlsFilesOf(directory));
  const kept: Partial<Record<FileField, string>> = {};
  const files: Record<string, string> = {};
  for (const field of FIELDS) {
    const file = settings[field];
    if (file === undefined) continue;
    const name = own.includes(file) ? path.relative(directory, file) : HANDED_OUT[field];
    kept[field] = name;
    if (!own.includes(file)) files[name] = fs.readFileSync(file, 'utf8');
  }
  return { settings: { version: 1, ...settings, ...kept, owner: cluster }, files };
}

/** Writes what was handed out: DIR/store.json, and the files that it names. */
export function keepStore(directory: string, { settings, files }: JoinAnswer['store']): void {
  makeDirectory(path.join(directory, 'tls'), 0o700);
  for (const name of Object.values(HANDED_OUT)) {
    const text = files[name];
    if (text !== undefined) replaceFile(path.join(directory, name), text);
  }
  replaceFile(storeFileOf(directory), `${JSON.stringify(settings, undefined, 2)}\n`);
}
