/**
 * The member of the cluster's own etcd that a node has (docs/cluster.md, "The cluster's own etcd"): DIR/etcd.json, which is etcd's
 * configuration file, as YAML takes JSON; DIR/etcd, its data; DIR/tls/etcd.pem, its certificate, of the node's key.
 */

import { createPublicKey } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import { type ClusterNode, tlsFilesOf } from '../env/node/node-identity.ts';
import { type TcpAddress, formatTcpAddress } from '../env/tcp-address.ts';
import { Refusal } from '../model/errors.ts';
import { type Certified, readAuthority, serverCertificate } from './cluster-authority.ts';
import { replaceFile } from './installation.ts';
import { portAfter } from './node-ports.ts';
import { etcdSettingsOf } from './open-store.ts';
import type { StoreSettings } from './store-settings.ts';

/** Found on the PATH: Debian's etcd-server, or another from 3.4 on. */
export const ETCD = 'etcd';
/** Holdfast keeps no history: its watches go on from where they are. */
const HISTORY_KEPT = '1h';

/** DIR/etcd.json. */
export const etcdFileOf = (directory: string): string => path.join(directory, 'etcd.json');

/** Whether the node has a member, that is to be started. */
export const hasMember = (directory: string): boolean => fs.existsSync(etcdFileOf(directory));

/** Whether the node has one, or is to make one once it is started: the nodes with the key of the authority are. Throws STORE_SETTINGS. */
export const isMemberPlace = (directory: string): boolean =>
  readAuthority(directory) !== undefined && etcdSettingsOf(directory)?.followsMembers === true;

/** What its process is started with, in DIR: the names in its file are relative. */
export const memberWords = (directory: string): readonly string[] => [
  '--config-file',
  etcdFileOf(directory),
];

/** The path of etcd. Throws ETCD_MISSING, which says how to get it. */
export function findEtcd(): string {
  for (const folder of (process.env['PATH'] ?? '').split(path.delimiter)) {
    const at = path.join(folder, ETCD);
    try {
      fs.accessSync(at, fs.constants.X_OK);
      return at;
    } catch {
      // Not in this folder.
    }
  }
  throw new Refusal('ETCD_MISSING');
}

const STATE = 'initial-cluster-state';

/** Has a member that made the cluster make no other one, should its data be gone at a later start. */
export function keepMade(directory: string): void {
  const file = etcdFileOf(directory);
  const settings: Record<string, unknown> = JSON.parse(fs.readFileSync(file, 'utf8'));
  if (settings[STATE] === 'existing') return;
  replaceFile(file, `${JSON.stringify({ ...settings, [STATE]: 'existing' }, undefined, 2)}\n`);
}

type Address = { readonly peer: TcpAddress };

/** Where other members reach the one of a node. */
export const memberPeerUrl = ({ peer }: Address): string =>
  `https://${formatTcpAddress(portAfter(peer, 'etcdPeer'))}`;

/** Where clients reach it. */
export const memberClientUrl = ({ peer }: Address): string =>
  `https://${formatTcpAddress(portAfter(peer, 'etcdClient'))}`;

/** How a node reaches the cluster's own etcd whose members are at `endpoints`: with its own certificate. */
export function ownStore(directory: string, endpoints: readonly string[]): StoreSettings {
  const { authority: caFile, certificate: certFile, key: keyFile } = tlsFilesOf(directory);
  return { endpoints, prefix: 'holdfast', caFile, certFile, keyFile, followsMembers: true };
}

/**
 * Writes what the member of a node starts with: its certificate, and DIR/etcd.json. `members`: the peer URLs of all by name, its own too, as
 * they are when it comes; `isFirst`: it makes the cluster that they are.
 */
export function keepMember(
  directory: string,
  node: Pick<ClusterNode, 'cluster' | 'node'> & Address,
  given: {
    readonly authority: Certified;
    readonly members: readonly (readonly [name: string, peerUrl: string])[];
    readonly isFirst: boolean;
  },
): void {
  const { authority, certificate, key } = tlsFilesOf(directory);
  const publicKey = createPublicKey(fs.readFileSync(key));
  const own = path.join(path.dirname(certificate), 'etcd.pem');
  const subject = { cluster: node.cluster, node: node.node, host: node.peer.host };
  replaceFile(own, serverCertificate(given.authority, subject, publicKey));
  const below = (file: string): string => path.relative(directory, file);
  const security = {
    'cert-file': below(own),
    'key-file': below(key),
    'trusted-ca-file': below(authority),
    'client-cert-auth': true,
  };
  const settings = {
    name: node.node,
    'data-dir': 'etcd',
    'listen-client-urls': memberClientUrl(node),
    'advertise-client-urls': memberClientUrl(node),
    'listen-peer-urls': memberPeerUrl(node),
    'initial-advertise-peer-urls': memberPeerUrl(node),
    'initial-cluster': given.members.map((member) => member.join('=')).join(','),
    [STATE]: given.isFirst ? 'new' : 'existing',
    'initial-cluster-token': node.cluster,
    'client-transport-security': security,
    'peer-transport-security': security,
    'auto-compaction-mode': 'periodic',
    'auto-compaction-retention': HISTORY_KEPT,
    // On by default, but not with a configuration file (3.4).
    'enable-grpc-gateway': true,
    logger: 'zap',
    'log-outputs': ['stderr'],
    'log-level': 'warn',
  };
  replaceFile(etcdFileOf(directory), `${JSON.stringify(settings, undefined, 2)}\n`);
}
