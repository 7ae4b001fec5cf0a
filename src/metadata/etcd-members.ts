/** The members of the etcd cluster that has the records, by its own API (`etcdserverpb.Cluster`, 3.4: with learners). */

import { answerOf } from './etcd-answers.ts';
import type { EtcdGateway } from './etcd-gateway.ts';

export type EtcdMember = {
  readonly id: string;
  /** Empty until it was started once. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** It has no vote yet, and serves nobody. */
  readonly isLearner: boolean;
};

/** `etcdserverpb.Member`, in the JSON mapping of protobuf. */
type MemberMessage = {
  readonly ID: string;
  readonly name?: string;
  readonly peerURLs?: readonly string[];
  readonly clientURLs?: readonly string[];
  readonly isLearner?: boolean;
};

export class EtcdMembers {
  readonly #gateway: EtcdGateway;

  constructor(gateway: EtcdGateway) {
    this.#gateway = gateway;
  }

  async list(): Promise<readonly EtcdMember[]> {
    const message = answerOf(await this.#gateway.call('cluster/member/list', {}));
    const members = (message['members'] ?? []) as readonly MemberMessage[];
    return members.map((member) => ({
      id: member.ID,
      name: member.name ?? '',
      peerUrls: member.peerURLs ?? [],
      clientUrls: member.clientURLs ?? [],
      isLearner: member.isLearner === true,
    }));
  }

  /**
   * Adds one that is yet to be started, as a learner: the others need no vote of it meanwhile. Throws STORE_FAILED where there is one such
   * already: etcd takes one at a time.
   */
  async add(peerUrl: string): Promise<void> {
    const message = { peerURLs: [peerUrl], isLearner: true };
    answerOf(await this.#gateway.call('cluster/member/add', message));
  }

  /** Gives a learner its vote. Throws STORE_FAILED while it has not caught up. */
  async promote(id: string): Promise<void> {
    answerOf(await this.#gateway.call('cluster/member/promote', { ID: id }));
  }

  /** Takes one out for good. Throws STORE_FAILED where too few would be left. */
  async remove(id: string): Promise<void> {
    answerOf(await this.#gateway.call('cluster/member/remove', { ID: id }));
  }

  /** Where members are asked from now on. */
  useEndpoints(endpoints: readonly string[]): void {
    this.#gateway.useEndpoints(endpoints);
  }
}
