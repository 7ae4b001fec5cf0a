/** The node that this control is of: its record, and what its engine has to know of the others. */

import { realpathSync } from 'node:fs';

import type { NodeLabels, NodeRecord } from '../../model/records.ts';
import type { ClusterNode } from '../../env/node/node-identity.ts';
import type { TcpAddress } from '../../env/tcp-address.ts';
import type { ControlParts } from '../parts.ts';
import { decideAgain } from '../conflicts.ts';

export class ThisNode {
  readonly #parts: ControlParts;
  readonly #identity: ClusterNode;
  readonly #join: TcpAddress | undefined;

  /** `join`: where it takes joins, if it does. */
  constructor(parts: ControlParts, identity: ClusterNode, join: TcpAddress | undefined) {
    this.#parts = parts;
    this.#identity = identity;
    this.#join = join;
  }

  get name(): string {
    return this.#identity.node;
  }

  /**
   * Tells the store which start of which engine is here, and that engine where the others are. Resolves with the number of the start. To be
   * called whenever an engine was connected, and {@link tellPeers} when a node came, moved or went.
   */
  async meetEngine(): Promise<number> {
    await this.tellPeers();
    const instance = String(this.#parts.engine.hello?.['instance'] ?? '');
    return decideAgain(async () => {
      const kept = await this.#parts.records.node(this.name);
      const record = this.#recordAfter(kept?.record, instance);
      const key = `node/${this.name}`;
      if (JSON.stringify(kept?.record) !== JSON.stringify(record)) {
        await this.#parts.records.change({
          conditions: [{ key, version: kept?.version ?? 0 }],
          puts: [{ key, record }],
        });
      }
      return record.engine.start;
    });
  }

  #recordAfter(known: NodeRecord | undefined, instance: string): NodeRecord {
    const { node: name, labels, peer } = this.#identity;
    const engine = known?.engine ?? { instance: '', start: 0 };
    return {
      name,
      labels: labelsAfter(known, labels),
      fileLabels: labels,
      service: known?.service ?? 'open',
      peer: { host: peer.host, port: peer.port },
      ...(this.#join === undefined ? {} : { join: this.#join }),
      directory: realpathSync(this.#parts.installation.directory),
      bootId: this.#parts.bootId,
      engine: engine.instance === instance ? engine : { instance, start: engine.start + 1 },
      createdAtMs: known?.createdAtMs ?? this.#parts.wallMs(),
    };
  }

  /** Gives the engine the addresses of all nodes. */
  async tellPeers(): Promise<void> {
    const nodes = (await this.#parts.records.nodes()).map(({ name, peer }) => ({
      node: name,
      host: peer.host,
      port: peer.port,
    }));
    await this.#parts.engine.call('peers.set', { nodes });
  }
}

/** Those that the file did not say at the last start too are news, and count; else what it is labelled since stays. */
function labelsAfter(known: NodeRecord | undefined, file: NodeLabels): NodeLabels {
  const { labels = file, fileLabels = file } = known ?? {};
  const after = (name: keyof NodeLabels): string =>
    file[name] === fileLabels[name] ? labels[name] : file[name];
  return { region: after('region'), zone: after('zone'), rack: after('rack') };
}
