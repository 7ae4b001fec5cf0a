/** Nodes of a cluster on this machine, each with an engine and a control process, or an attacher too, over one store in SQLite. */

import { randomUUID } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import {
  type Certified,
  newAuthority,
  newNodeCertificate,
} from '../../src/control/cluster-authority.ts';
import type { DriveView } from '../../src/control/drive-schemas.ts';
import type { VolumeView } from '../../src/control/schemas.ts';
import { nodeFileOf, tlsFilesOf } from '../../src/env/node/node-identity.ts';
import { ControlRig, type Role } from './control-rig.ts';
import type { Network } from './network.ts';
import { freePort } from './etcd-process.ts';
import { until } from './attach-rig.ts';

const MIB = 1024 * 1024;
const DRIVE_BYTES = 256 * MIB;

export type ClusterRigOptions = {
  /** Engine and control, if not told: without an attacher there are no block devices. */
  readonly roles?: readonly Role[];
  /** Of each node's one. */
  readonly driveBytes?: number;
  /** Where the nodes are, each a machine of its own; the caller's. */
  readonly network?: Network;
  /** What store.json has, if it is not SQLite. */
  readonly store?: object;
  /** Of a node's processes, beside that of this one. */
  readonly env?: (node: string) => NodeJS.ProcessEnv;
  /** Told of a process that ended by itself, which is started again then. None: it stays away. */
  readonly onEnd?: (node: string, role: Role, how: string) => void;
};

export class ClusterRig {
  readonly #cluster = randomUUID();
  readonly #authority: Certified = newAuthority(this.#cluster);
  readonly #nodes = new Map<string, ControlRig>();
  /** Of each node's processes. */
  readonly roles: readonly Role[];
  readonly #options: ClusterRigOptions;

  constructor(options: ClusterRigOptions = {}) {
    this.#options = options;
    this.roles = options.roles ?? ['engine', 'control'];
  }

  node(name: string): ControlRig {
    const rig = this.#nodes.get(name);
    if (rig === undefined) throw new Error(`no node "${name}"`);
    return rig;
  }

  /** Makes the nodes, one in each zone, and starts them, each with a drive `drive-NAME`. */
  async start(...names: readonly string[]): Promise<void> {
    for (const name of names) await this.#make(name);
    await Promise.all(names.map((name) => this.startNode(name)));
    for (const name of names) {
      await this.node(name).api.post<DriveView>('/v1/drives', {
        name: `drive-${name}`,
        sizeBytes: this.#options.driveBytes ?? DRIVE_BYTES,
        sparse: true,
      });
    }
  }

  async #make(node: string): Promise<void> {
    const { network, env, store, onEnd } = this.#options;
    const place = await network?.add(node);
    const rig = new ControlRig({
      enter: place?.enter ?? [],
      env: env?.(node) ?? {},
      ...(onEnd && { onEnd: (role, how) => onEnd(node, role, how) }),
    });
    const { directory } = rig.installation;
    const first = [...this.#nodes.values()][0]?.installation.directory ?? directory;
    this.#nodes.set(node, rig);
    const labels = { region: '', zone: node, rack: '' };
    const peer = { host: place?.host ?? '127.0.0.1', port: await freePort() };
    const identity = { version: 1, cluster: this.#cluster, node, labels, peer };
    fs.writeFileSync(nodeFileOf(directory), JSON.stringify(identity));
    const files = tlsFilesOf(directory);
    const own = newNodeCertificate(this.#authority, { cluster: this.#cluster, node });
    fs.mkdirSync(path.dirname(files.key), { recursive: true });
    fs.writeFileSync(files.authority, this.#authority.certificate);
    fs.writeFileSync(files.certificate, own.certificate);
    fs.writeFileSync(files.key, own.key, { mode: 0o600 });
    const shared = { sqlite: path.join(first, 'cluster.db') };
    fs.writeFileSync(path.join(directory, 'store.json'), JSON.stringify(store ?? shared));
  }

  /** Starts the processes of a node that has none. */
  async startNode(name: string): Promise<void> {
    const rig = this.node(name);
    for (const role of this.roles) if (role !== 'control') rig.start(role);
    await rig.startControl();
  }

  /** SIGKILL of all its processes. */
  async killNode(name: string): Promise<void> {
    await Promise.all(this.roles.map((role) => this.node(name).kill(role)));
  }

  /** Waits until as many replicas of a volume as it has are synced, as `node` sees them. */
  async untilSynced(volume: string, node: string): Promise<void> {
    await until(async () => {
      const { replicas } = await this.node(node).api.get<VolumeView>(`/v1/volumes/${volume}`);
      return replicas.every(({ state }) => state === 'synced');
    });
  }

  async close(): Promise<void> {
    for (const rig of this.#nodes.values()) await rig.close();
  }
}
