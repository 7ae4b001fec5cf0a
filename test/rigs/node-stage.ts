/** Three nodes of a cluster, each on a machine of its own as far as its network goes, with drives that can be made ill. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { atRigEnd } from '../../bench/lib/rig.ts';
import type { DriveView } from '../../src/control/schemas.ts';
import { ClusterRig } from './cluster-rig.ts';
import { makeTestDirectory, removeTestDirectory } from './control-rig.ts';
import { EtcdProcess } from './etcd-process.ts';
import { Network } from './network.ts';

export const NODES: readonly string[] = ['a', 'b', 'c'];
/** The machine of the store, if that is etcd. */
export const STORE = 'etcd';

const HOOKS = `--import=${new URL('../hooks/load.mjs', import.meta.url).href}`;

const CANARY = { HOLDFAST_TEST_HOOKS: 'forgetful-replica', HOLDFAST_TEST_FORGETFUL: 'b' };

/** As test/hooks/ill-drive.ts has them. */
export type Illness = 'hangs' | 'slow' | 'fails';

export type StageOptions = {
  /** SQLite, if not told: a file, which no network cuts off. */
  readonly store?: 'sqlite' | 'etcd';
  /** The replica on node b forgets now and then; drives are well. */
  readonly isCanary?: boolean;
};

export class Stage {
  readonly network: Network;
  readonly cluster: ClusterRig;
  /** None: it is SQLite. */
  readonly store: EtcdProcess | undefined;
  readonly #folder: string;
  readonly #paths = new Map<string, string>();
  readonly #illnesses = new Map<string, Illness>();

  private constructor(
    folder: string,
    network: Network,
    { store, isCanary = false }: { store: EtcdProcess | undefined; isCanary?: boolean },
  ) {
    this.#folder = folder;
    this.network = network;
    this.store = store;
    this.cluster = new ClusterRig({
      network,
      ...(store === undefined ? {} : { store: { endpoints: [store.endpoint] } }),
      env: {
        NODE_OPTIONS: HOOKS,
        HOLDFAST_TEST_HOOKS: 'ill-drive',
        HOLDFAST_TEST_ILL: join(folder, 'ill'),
        ...(isCanary ? CANARY : {}),
      },
    });
  }

  /** Builds one for `work`; it is gone afterwards, also where a signal ends a rig. */
  static async use<Result>(
    options: StageOptions,
    work: (stage: Stage) => Promise<Result>,
  ): Promise<Result> {
    const stage = await Stage.#build(options);
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => (closing ??= stage.#close());
    atRigEnd(close);
    try {
      await stage.#start();
      return await work(stage);
    } finally {
      await close();
    }
  }

  static async #build({ store: kind = 'sqlite', ...options }: StageOptions): Promise<Stage> {
    const folder = makeTestDirectory();
    const network = await Network.open();
    const place = kind === 'etcd' ? await network.add(STORE) : undefined;
    const store = place && (await EtcdProcess.start({ directory: folder, place }));
    return new Stage(folder, network, { ...options, store });
  }

  async #start(): Promise<void> {
    await this.cluster.start(...NODES);
    for (const node of NODES) {
      const drives = await this.cluster.node(node).api.get<DriveView[]>('/v1/drives');
      this.#paths.set(node, drives.find(({ name }) => name === `drive-${node}`)?.path ?? '');
    }
  }

  /** All that have a network. */
  get machines(): readonly string[] {
    return this.store === undefined ? NODES : [...NODES, STORE];
  }

  /** What the drive of a node has from now on; undefined: it is well again. */
  afflict(node: string, illness: Illness | undefined): void {
    if (illness === undefined) this.#illnesses.delete(node);
    else this.#illnesses.set(node, illness);
    const lines = [...this.#illnesses].map(([each, has]) => `${has} ${this.#paths.get(each)}`);
    writeFileSync(join(this.#folder, 'ill'), lines.join('\n'));
  }

  async #close(): Promise<void> {
    await this.cluster.close();
    await this.store?.kill();
    await this.network.close();
    await removeTestDirectory(this.#folder);
  }
}
