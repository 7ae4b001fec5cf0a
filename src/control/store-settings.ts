/**
 * Where the records are, as the installation keeps it: DIR/store.json for etcd, or for a SQLite file that the nodes of a cluster share on one
 * machine; without it, SQLite in DIR/state.db.
 */

import fs from 'node:fs';
import path from 'node:path';

import type { EtcdAccess } from '../metadata/etcd-gateway.ts';
import { Refusal } from '../model/errors.ts';

/** The file's fields. Names of files are relative to its own folder. */
export type StoreSettings = {
  /** `https://HOST:PORT` of etcd's members. */
  readonly endpoints: readonly string[];
  /** What Holdfast's keys begin with; `holdfast` unless given. One for each cluster. */
  readonly prefix: string;
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  /** It is the cluster's own: {@link endpoints} are those of its members, and follow them (docs/cluster.md, "The cluster's own etcd"). */
  readonly followsMembers?: boolean;
  /** Names the installation in etcd. Made when the file is taken in. */
  readonly owner?: string;
};

const NAMES = new Set([
  'version',
  'endpoints',
  'prefix',
  'caFile',
  'certFile',
  'keyFile',
  'user',
  'passwordFile',
  'followsMembers',
  'owner',
]);
const FILES = ['caFile', 'certFile', 'keyFile', 'passwordFile'] as const;
const DEFAULT_PREFIX = 'holdfast';

/** DIR/store.json. */
export const storeFileOf = (directory: string): string => path.join(directory, 'store.json');

/** The SQLite file that DIR/store.json names: {"version":1,"sqlite":FILE}. Throws STORE_SETTINGS. */
export function sharedFileOf(directory: string): string | undefined {
  const file = storeFileOf(directory);
  if (!fs.existsSync(file)) return undefined;
  const { version = 1, sqlite, ...others } = fieldsIn(file);
  if (sqlite === undefined) return undefined;
  const refused = (problem: string): Refusal => new Refusal('STORE_SETTINGS', { file, problem });
  if (version !== 1) throw refused(otherVersion(version));
  const [other] = Object.keys(others);
  if (other !== undefined) throw refused(`"${other}" is nothing that it can have beside "sqlite"`);
  if (typeof sqlite === 'string' && sqlite !== '') return path.resolve(directory, sqlite);
  throw refused('"sqlite" is the name of a file');
}

const otherVersion = (version: unknown): string =>
  `it has version ${String(version)}, and this build reads 1`;

function fieldsIn(file: string): Record<string, unknown> {
  try {
    return { ...JSON.parse(fs.readFileSync(file, 'utf8')) };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    throw new Refusal('STORE_SETTINGS', { file, problem });
  }
}

/** Reads settings of etcd, with absolute names of files. Throws STORE_SETTINGS. */
export function readStoreSettings(file: string): StoreSettings {
  const refused = (problem: string): Refusal => new Refusal('STORE_SETTINGS', { file, problem });
  const fields = fieldsIn(file);
  const { version = 1, endpoints, followsMembers = false, ...texts } = fields;
  if (version !== 1) throw refused(otherVersion(version));
  const unknown = Object.keys(fields).find((name) => !NAMES.has(name));
  if (unknown !== undefined) throw refused(`"${unknown}" is nothing that it can have`);
  if (!Array.isArray(endpoints) || endpoints.length === 0 || !endpoints.every(isEndpoint)) {
    throw refused('"endpoints" is a list of etcd\'s members, such as "https://10.0.0.1:2379"');
  }
  if (typeof followsMembers !== 'boolean') throw refused('"followsMembers" is true or false');
  const wrong = Object.keys(texts).find((name) => typeof texts[name] !== 'string');
  if (wrong !== undefined) throw refused(`"${wrong}" is a text`);
  const settings = texts as Omit<Partial<StoreSettings>, 'endpoints' | 'followsMembers'>;
  if ((settings.user === undefined) !== (settings.passwordFile === undefined)) {
    throw refused('"user" and "passwordFile" go together');
  }
  const prefix = settings.prefix ?? DEFAULT_PREFIX;
  if (!/^[\w./-]*\w$/.test(prefix)) throw refused('"prefix" is made of letters, digits, . _ - /');
  const files = FILES.flatMap((name) => {
    const at = settings[name];
    return at === undefined ? [] : [[name, path.resolve(path.dirname(file), at)] as const];
  });
  const own = followsMembers ? { followsMembers } : {};
  return { ...settings, ...Object.fromEntries(files), ...own, endpoints, prefix };
}

function isEndpoint(text: unknown): text is string {
  if (typeof text !== 'string' || !URL.canParse(text)) return false;
  const { protocol, pathname } = new URL(text);
  return (protocol === 'http:' || protocol === 'https:') && pathname === '/';
}

/** What is kept of `settings` in DIR/store.json. */
export function storeSettingsText(settings: StoreSettings & { readonly owner: string }): string {
  return `${JSON.stringify({ version: 1, ...settings }, undefined, 2)}\n`;
}

/** The settings with the contents of the files that they name. Throws STORE_SETTINGS. */
export function accessOf(settings: StoreSettings, file: string): EtcdAccess {
  const read = (at: string): string => {
    try {
      return fs.readFileSync(at, 'utf8');
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      throw new Refusal('STORE_SETTINGS', { file, problem });
    }
  };
  const { caFile, certFile, keyFile, user, passwordFile } = settings;
  return {
    endpoints: settings.endpoints,
    tls: {
      ...(caFile === undefined ? {} : { ca: read(caFile) }),
      ...(certFile === undefined ? {} : { cert: read(certFile) }),
      ...(keyFile === undefined ? {} : { key: read(keyFile) }),
    },
    ...(user === undefined || passwordFile === undefined
      ? {}
      : { user: { name: user, password: read(passwordFile).trimEnd() } }),
  };
}

/** The store of the settings, for people: `etcd at https://a:2379, https://b:2379, prefix "holdfast"`. */
export function storeInWords({ endpoints, prefix }: StoreSettings): string {
  return `etcd at ${endpoints.join(', ')}, prefix "${prefix}"`;
}
