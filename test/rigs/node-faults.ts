/** What can happen to the nodes of a cluster, and be undone: of `npm run chaos:nodes`. */

import type { Prng } from '../../src/lib/prng.ts';
import type { ClusterRig } from './cluster-rig.ts';
import type { Role } from './control-rig.ts';
import type { Network } from './network.ts';

/** Where faults happen. */
export type Scene = {
  readonly cluster: ClusterRig;
  readonly network: Network;
  readonly nodes: readonly string[];
  readonly random: Prng;
  /** The node of the head. */
  head(): string;
  /** Attaches the volume by force on a node that is well. */
  takeOver(): Promise<void>;
};

export type NodeFault = {
  readonly name: string;
  /** What it happens to: the node of the head, or one that has a replica only. */
  readonly target: 'head' | 'member';
  /** With it alone the volume's minimum of two replicas is kept, and whoever uses it is served again while it lasts. */
  readonly isBorne: boolean;
  /** The longest time between two answers, "stall" of the bars. None: it lasts as long as the fault, or no bar says. */
  readonly barMs?: number;
  /** The bar counts from the request to attach it elsewhere. */
  readonly takesOver?: true;
  begin(scene: Scene, node: string): Promise<void>;
  undo(scene: Scene, node: string): Promise<void>;
};

const others = ({ nodes }: Scene, node: string): string[] => nodes.filter((each) => each !== node);

/** What `node` hears of the others, and they of it, in percent that is lost. */
async function lose(scene: Scene, node: string, { out, into }: { out: number; into: number }) {
  for (const other of others(scene, node)) {
    await scene.network.lose(node, other, out);
    await scene.network.lose(other, node, into);
  }
}

const arrive = (scene: Scene, node: string): Promise<void> =>
  lose(scene, node, { out: 0, into: 0 });

const cutting = (
  name: string,
  losses: { readonly out: number; readonly into: number },
): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name,
  begin: (scene, node) => lose(scene, node, losses),
  undo: arrive,
});

const CUT = { out: 100, into: 100 };

function signalAll({ cluster }: Scene, node: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const role of ['engine', 'control'] as const) cluster.node(node).signal(role, signal);
}

const stopping = (role: Role): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name: `${role} stopped`,
  begin: async ({ cluster }, node) => cluster.node(node).signal(role, 'SIGSTOP'),
  undo: async ({ cluster }, node) => cluster.node(node).signal(role, 'SIGCONT'),
});

const killingControl: Pick<NodeFault, 'name' | 'begin' | 'undo'> = {
  name: 'control killed',
  begin: ({ cluster }, node) => cluster.node(node).kill('control'),
  undo: ({ cluster }, node) => cluster.node(node).startControl(),
};

/** "None" in the bars: no longer than a flush on a busy disk. */
const NONE_MS = 250;

export const NODE_FAULTS: readonly NodeFault[] = [
  {
    name: 'engine killed',
    target: 'member',
    isBorne: true,
    barMs: 250,
    begin: ({ cluster }, node) => cluster.node(node).kill('engine'),
    undo: async ({ cluster }, node) => cluster.node(node).start('engine'),
  },
  {
    name: 'engine killed, and started at once',
    target: 'head',
    isBorne: true,
    barMs: 2000,
    begin: async ({ cluster }, node) => {
      await cluster.node(node).kill('engine');
      cluster.node(node).start('engine');
    },
    undo: async () => undefined,
  },
  { ...killingControl, target: 'member', isBorne: true, barMs: NONE_MS },
  { ...killingControl, target: 'head', isBorne: true, barMs: NONE_MS },
  {
    name: 'node killed',
    target: 'member',
    isBorne: true,
    barMs: 250,
    begin: ({ cluster }, node) => cluster.killNode(node),
    undo: ({ cluster }, node) => cluster.startNode(node),
  },
  {
    name: 'node killed, taken over',
    target: 'head',
    isBorne: true,
    barMs: 3000,
    takesOver: true,
    begin: async (scene, node) => {
      await scene.cluster.killNode(node);
      await scene.takeOver();
    },
    undo: ({ cluster }, node) => cluster.startNode(node),
  },
  {
    name: 'node stopped, taken over',
    target: 'head',
    isBorne: true,
    barMs: 3000,
    takesOver: true,
    begin: async (scene, node) => {
      signalAll(scene, node, 'SIGSTOP');
      await scene.takeOver();
    },
    undo: async (scene, node) => signalAll(scene, node, 'SIGCONT'),
  },
  {
    name: 'cut off, taken over',
    target: 'head',
    isBorne: true,
    barMs: 3000,
    takesOver: true,
    begin: async (scene, node) => {
      await lose(scene, node, CUT);
      await scene.takeOver();
    },
    undo: arrive,
  },
  { ...stopping('engine'), target: 'member', isBorne: true, barMs: 2000 },
  { ...stopping('engine'), target: 'head', isBorne: false },
  { ...stopping('control'), target: 'member', isBorne: true, barMs: NONE_MS },
  { ...stopping('control'), target: 'head', isBorne: true, barMs: NONE_MS },
  { ...cutting('cut off', CUT), target: 'member', isBorne: true, barMs: 2000 },
  { ...cutting('cut off', CUT), target: 'head', isBorne: false },
  {
    ...cutting('cut off, hears', { out: 100, into: 0 }),
    target: 'member',
    isBorne: true,
    barMs: 2000,
  },
  {
    ...cutting('cut off, is heard', { out: 0, into: 100 }),
    target: 'member',
    isBorne: true,
    barMs: 2000,
  },
  { ...cutting('packets lost', { out: 10, into: 10 }), target: 'member', isBorne: true },
  { ...cutting('packets lost', { out: 5, into: 5 }), target: 'head', isBorne: true },
  {
    name: 'slow line',
    target: 'member',
    isBorne: true,
    begin: ({ network }, node) => network.limit(node, 1000),
    undo: ({ network }, node) => network.limit(node, undefined),
  },
  {
    name: 'slow line',
    target: 'head',
    isBorne: true,
    begin: ({ network }, node) => network.limit(node, 10_000),
    undo: ({ network }, node) => network.limit(node, undefined),
  },
];
