/** Three nodes of a cluster, each on a machine of its own as far as its network goes, with drives that can be made ill. */

import { join } from 'node:path';

import { atRigEnd } from '../../bench/lib/rig.ts';
import type { DriveView } from '../../src/control/drive-schemas.ts';
import { until } from './attach-rig.ts';
import { ClusterRig } from './cluster-rig.ts';
import { type Role, START_MS_MAX, makeTestDirectory, removeTestDirectory } from './control-rig.ts';
import { EtcdProcess } from './etcd-process.ts';
import { IllDrives, type Illness } from './ill-drives.ts';
import { Network } from './network.ts';
import { WallClock } from './wall-clock.ts';

export const NODES: readonly string[] = ['a', 'b', 'c'];
/** The machine of the store, if that is etcd. */
export const STORE = 'etcd';

const ROLES_OF_DEVICES = ['engine', 'attacher', 'control'] as const;
const DEVICES_DRIVE_BYTES = 2 ** 31;
const HOUR_MS = 3_600_000;

const HOOKS = `--import=${new URL('../hooks/load.mjs', import.meta.url).href}`;

const CANARY = {
  NODE_OPTIONS: HOOKS,
  HOLDFAST_TEST_HOOKS: 'forgetful-replica',
  HOLDFAST_TEST_FORGETFUL: 'b',
};

export type StageOptions = {
  /** SQLite, if not told: a file, which no network cuts off. */
  readonly store?: 'sqlite' | 'etcd';
  /** Nodes can make block devices, and have room for what is mounted from them. */
  readonly hasDevices?: boolean;
  /** The replica on node b forgets now and then. */
  readonly isCanary?: boolean;
};

export class Stage {
  readonly network: Network;
  readonly cluster: ClusterRig;
  /** None: it is SQLite. */
  readonly store: EtcdProcess | undefined;
  /** Processes that ended though nobody had ended them, and how. */
  readonly ends: { readonly role: Role; readonly told: string }[] = [];
  readonly #folder: string;
  readonly #paths = new Map<string, string>();
  readonly #clocks: ReadonlyMap<string, WallClock>;
  #drives: IllDrives | undefined;

  private constructor(
    folder: string,
    network: Network,
    {
      store,
      hasDevices = false,
      isCanary = false,
    }: Omit<StageOptions, 'store'> & { readonly store: EtcdProcess | undefined },
  ) {
    this.#folder = folder;
    this.network = network;
    this.store = store;
    this.#clocks = new Map(
      NODES.map((node) => [node, new WallClock(join(folder, `clock-${node}`))]),
    );
    this.cluster = new ClusterRig({
      network,
      ...(hasDevices ? { roles: ROLES_OF_DEVICES, driveBytes: DEVICES_DRIVE_BYTES } : {}),
      ...(store === undefined ? {} : { store: { endpoints: [store.endpoint] } }),
      onEnd: (node, role, how) => this.ends.push({ role, told: `${role} of ${node} ${how}` }),
      env: (node) => ({ ...this.#clocks.get(node)?.env, ...(isCanary ? CANARY : {}) }),
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
    for (const node of NODES) this.#paths.set(node, (await this.#drive(node)).path);
    // Nobody has the file of a drive open while another takes its place.
    for (const node of NODES) await this.cluster.node(node).kill('engine');
    this.#drives = await IllDrives.start([...this.#paths.values()]);
    for (const node of NODES) this.cluster.node(node).start('engine');
    for (const node of NODES)
      await until(async () => (await this.#drive(node)).state === 'open', START_MS_MAX);
  }

  async #drive(node: string): Promise<DriveView> {
    return await this.cluster.node(node).api.get<DriveView>(`/v1/drives/drive-${node}`);
  }

  /** All that have a network. */
  get machines(): readonly string[] {
    return this.store === undefined ? NODES : [...NODES, STORE];
  }

  /** What the drive of a node has from now on; undefined: it is well again. */
  async afflict(node: string, illness: Illness | undefined): Promise<void> {
    await this.#drives?.afflict(this.#paths.get(node) ?? '', illness);
  }

  /** How wrong the clock of a node is from now on. */
  setClock(node: string, aheadSeconds: number): void {
    this.#clocks.get(node)?.jump(aheadSeconds);
  }

  /** What processes of nodes have logged since a time of the wall clock, oldest first. */
  logged(sinceMs: number): readonly string[] {
    const texts = NODES.flatMap((node) =>
      this.cluster.roles.map((role) => ({ node, text: this.cluster.node(node).log(role) })),
    );
    return (
      texts
        .flatMap(({ node, text }) => text.split('\n').map((line) => ({ node, line })))
        .flatMap(({ node, line }) => {
          // Others are what a process said that ended.
          if (!/^\{"at":.*\}$/.test(line)) return [];
          const { at, event, level: _, message: __, ...details } = JSON.parse(line);
          return [{ afterMs: Date.parse(at) - sinceMs, node, event, details }];
        })
        // A clock that is wrong was not so for long.
        .filter(({ afterMs }) => afterMs >= 0 && afterMs < HOUR_MS)
        .toSorted((a, b) => a.afterMs - b.afterMs)
        .map(
          (each) =>
            `+${each.afterMs} ms ${each.node} ${each.event} ${JSON.stringify(each.details)}`,
        )
    );
  }

  async #close(): Promise<void> {
    // First: a process that waits for a drive that hangs cannot be killed.
    await this.#drives?.close();
    await this.cluster.close();
    await this.store?.kill();
    await this.network.close();
    await removeTestDirectory(this.#folder);
  }
}
