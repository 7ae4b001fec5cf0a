/** Makes the first node of a cluster of machines (docs/cluster.md, "Machines that join"). */

import { X509Certificate, randomUUID } from 'node:crypto';

import { type ClusterNode, nodeFileOf, readNode } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import {
  type Certified,
  keepAuthority,
  newAuthority,
  newNodeCertificate,
  readAuthority,
} from './cluster-authority.ts';
import { type NodeWish, keepIdentity, keepNode } from './node-files.ts';
import { keepMember, memberClientUrl, memberPeerUrl, ownStore } from './own-etcd.ts';
import { handoutOf, keepStore } from './store-handout.ts';
import type { StoreSettings } from './store-settings.ts';

export type FirstNode = NodeWish & {
  /** The etcd that has the cluster's records; undefined: one of its own, whose first member is this node's. */
  readonly store: StoreSettings | undefined;
};

/**
 * Makes the installation in `directory` (absolute) the first node of a new cluster, which is the id that this returns. Interrupted, the same
 * again makes the rest. Throws CLUSTER_INVALID where it is a node already, unless it is this one.
 */
export function initCluster(directory: string, first: FirstNode): string {
  const known = readNode(directory);
  if (known !== undefined) return sameCluster(directory, known, first);
  const { node, labels, peer } = first;
  const authority = findAuthority(directory);
  const cluster = nameOf(authority);
  keepIdentity(directory, {
    authority: authority.certificate,
    ...newNodeCertificate(authority, { cluster, node }),
  });
  const store = first.store ?? ownStore(directory, [memberClientUrl(first)]);
  keepStore(directory, handoutOf(store, { directory, cluster }));
  if (first.store === undefined) {
    const members = [[node, memberPeerUrl(first)]] as const;
    keepMember(directory, { cluster, node, peer }, { authority, members, isFirst: true });
  }
  keepNode(directory, { cluster, node, labels, peer });
  return cluster;
}

/** Its own, which an earlier call may have made. */
function findAuthority(directory: string): Certified {
  const known = readAuthority(directory);
  if (known !== undefined) return known;
  const authority = newAuthority(randomUUID());
  keepAuthority(directory, authority);
  return authority;
}

/** The cluster's id is the authority's name. */
const nameOf = ({ certificate }: Certified): string =>
  new X509Certificate(certificate).subject.replace(/^CN=/, '');

function sameCluster(directory: string, known: ClusterNode, { node, peer }: FirstNode): string {
  const isSame =
    known.node === node &&
    known.peer.host === peer.host &&
    known.peer.port === peer.port &&
    readAuthority(directory) !== undefined;
  if (isSame) return known.cluster;
  const problem = `it is node "${known.node}" of cluster ${known.cluster} already`;
  throw new Refusal('CLUSTER_INVALID', { file: nodeFileOf(directory), problem });
}
