/**
 * Where the cluster has an etcd of its own: makes this node's member, if it is one of the nodes that are to have one, and follows where the
 * members are. Each node sees to its own alone. docs/cluster.md, "The cluster's own etcd".
 */

import type { ClusterNode } from '../../env/node/node-identity.ts';
import type { TcpAddress } from '../../env/tcp-address.ts';
import type { EtcdMember, EtcdMembers } from '../../metadata/etcd-members.ts';
import { readAuthority } from '../cluster-authority.ts';
import { hasMember, keepMade, keepMember, memberClientUrl, memberPeerUrl } from '../own-etcd.ts';
import type { ControlParts } from '../parts.ts';
import { keepMembers, readMembers } from '../store-members.ts';

/** Until this node's member has its vote. */
const SETTLING_MS = 1000;
/** Then only others come and go. */
const LOOK_MS = 3000;

type Members = Pick<EtcdMembers, 'list' | 'add' | 'promote' | 'remove' | 'useEndpoints'>;
type Parts = Pick<ControlParts, 'installation' | 'log'>;

export class OwnMembers {
  readonly #parts: Parts;
  readonly #identity: ClusterNode;
  readonly #members: Members;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #isEnding = false;
  #problem = '';

  constructor(
    parts: Parts,
    { identity, members }: { readonly identity: ClusterNode; readonly members: Members },
  ) {
    this.#parts = parts;
    this.#identity = identity;
    this.#members = members;
  }

  /** Looks now and every few seconds, until `stop`. */
  start(): void {
    this.#looking = this.#look().then((isSettled) => {
      if (this.#isEnding) return;
      this.#timer = setTimeout(() => this.start(), isSettled ? LOOK_MS : SETTLING_MS);
    });
  }

  async stop(): Promise<void> {
    this.#isEnding = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<boolean> {
    try {
      return await this.look();
    } catch (error) {
      const problem = String(error);
      if (problem !== this.#problem) this.#parts.log('cluster.put_off', { error: problem });
      this.#problem = problem;
      return false;
    }
  }

  /** Takes the next step; true where there is none. Throws what etcd refuses: another member is coming, or this one has not caught up. */
  async look(): Promise<boolean> {
    const { directory } = this.#parts.installation;
    const members = await this.#members.list();
    this.#follow(members);
    const authority = readAuthority(directory);
    if (authority === undefined) return true;
    const url = memberPeerUrl(this.#identity);
    const own = members.find(({ peerUrls }) => peerUrls.includes(url));
    if (own === undefined) {
      // One that was taken out does not come back: its data are of the cluster as it was.
      if (hasMember(directory)) return true;
      await this.#members.add(url);
      return false;
    }
    if (!hasMember(directory)) {
      const named = members.map(({ id, name, peerUrls: [first = ''] }) => {
        return [first === url ? this.#identity.node : name || id, first] as const;
      });
      // From now on it is started, by the supervisor or by systemd.
      keepMember(directory, this.#identity, { authority, members: named, isFirst: false });
      return false;
    }
    if (!own.isLearner) {
      keepMade(directory);
      return true;
    }
    await this.#members.promote(own.id);
    return false;
  }

  /** The one beside this node is asked first. */
  #follow(members: readonly EtcdMember[]): void {
    const { directory } = this.#parts.installation;
    const own = memberClientUrl(this.#identity);
    const urls = members.flatMap(({ isLearner, clientUrls }) => (isLearner ? [] : clientUrls));
    const endpoints = [
      ...urls.filter((url) => url === own),
      ...urls.filter((url) => url !== own).toSorted(),
    ];
    if (endpoints.length === 0 || endpoints.join() === readMembers(directory).join()) return;
    keepMembers(directory, endpoints);
    this.#members.useEndpoints(endpoints);
  }

  /** Takes the member of a node out that is taken out of the cluster. One that has none stays as it is. */
  async remove(peer: TcpAddress): Promise<void> {
    const url = memberPeerUrl({ peer });
    const found = (await this.#members.list()).find(({ peerUrls }) => peerUrls.includes(url));
    if (found !== undefined) await this.#members.remove(found.id);
  }
}
