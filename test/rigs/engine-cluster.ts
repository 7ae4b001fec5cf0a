/** Three engines, each a node of one cluster with a drive and a replica; the rig does what their controls do. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { newAuthority, newNodeCertificate } from '../../src/control/cluster-authority.ts';
import { nodeFileOf, tlsFilesOf } from '../../src/env/node/node-identity.ts';
import { EngineProcess } from './engine-process.ts';
import { freePort } from './etcd-process.ts';
import type { Places } from './record-keeper.ts';

const CLUSTER = 'test';
const NODES = ['a', 'b', 'c'];

/** How nodes and drives are made; `folder`: where the drives are, if not with each engine. */
export type ClusterOptions = {
  readonly sealed: boolean;
  readonly driveBytes: number;
  readonly isSparse: boolean;
  readonly volumeBytes: number;
  readonly folder?: string;
  /** Of each engine, beside that of this process. */
  readonly env?: NodeJS.ProcessEnv;
};

export type ClusterMember = {
  readonly node: string;
  readonly replica: string;
  readonly engine: EngineProcess;
  readonly drive: { readonly driveId: string; readonly path: string };
  /** Of its drive. */
  life: number;
};

export class EngineCluster {
  readonly members: readonly ClusterMember[];
  readonly #options: ClusterOptions;
  readonly #authority = newAuthority(CLUSTER);
  #nodes: readonly { readonly node: string; readonly host: string; readonly port: number }[] = [];

  /** Its engines are not started. */
  constructor(options: ClusterOptions) {
    this.#options = options;
    this.members = NODES.map((node, index) => {
      const engine = new EngineProcess({ env: options.env ?? {} });
      const path = join(options.folder ?? engine.folder, `${node}.img`);
      const replica = `${index + 1}${index + 1}`.repeat(16);
      return { node, replica, engine, drive: { driveId: `drive-${node}`, path }, life: 0 };
    });
  }

  /** The node of each replica. */
  get places(): Places {
    return Object.fromEntries(this.members.map(({ replica, node }) => [replica, node]));
  }

  /** The replicas with the lives of their drives. */
  get lives(): readonly (readonly [string, number])[] {
    return this.members.map(({ replica, life }) => [replica, life]);
  }

  /** Makes nodes and drives, and starts all. */
  async start(): Promise<void> {
    const ports = await Promise.all(this.members.map(freePort));
    this.#nodes = this.members.map(({ node }, index) => ({
      node,
      host: '127.0.0.1',
      port: ports[index] ?? 0,
    }));
    await Promise.all(this.members.map((member) => this.#make(member)));
  }

  /** Starts the engine of a node that was started before. */
  async restart({ engine }: ClusterMember): Promise<void> {
    await engine.start();
    await engine.call('peers.set', { nodes: this.#nodes });
  }

  async remove(): Promise<void> {
    await Promise.all(this.members.map(({ engine }) => engine.remove()));
  }

  async #make(member: ClusterMember): Promise<void> {
    const { node, engine, drive, replica } = member;
    const { sealed, driveBytes, isSparse, volumeBytes } = this.#options;
    const { host, port } = this.#nodes.find((each) => each.node === node)!;
    const peer = { host, port, sealed };
    const self = { version: 1, cluster: CLUSTER, node, labels: { zone: node }, peer };
    writeFileSync(nodeFileOf(engine.folder), JSON.stringify(self));
    const files = tlsFilesOf(engine.folder);
    mkdirSync(join(engine.folder, 'tls'));
    const { certificate, key } = newNodeCertificate(this.#authority, { cluster: CLUSTER, node });
    writeFileSync(files.authority, this.#authority.certificate);
    writeFileSync(files.certificate, certificate);
    writeFileSync(files.key, key);
    await this.restart(member);
    await engine.call('drive.format', { ...drive, sizeBytes: driveBytes, sparse: isSparse });
    await engine.call('drive.open', drive);
    const made = { driveId: drive.driveId, replica, sizeBytes: volumeBytes };
    const { life } = await engine.call('replica.create', made);
    member.life = Number(life);
    engine.listDrives([drive]);
  }
}
