/** What can happen to the nodes of a cluster, and be undone: of `npm run chaos:nodes`. */

import type { Role } from './control-rig.ts';
import type { Illness } from './ill-drives.ts';
import type { Slowness } from './network.ts';
import type { Stage } from './node-stage.ts';

/** Where faults happen. */
export type Scene = {
  readonly stage: Stage;
  /** Attaches the volume by force on a node that is well. */
  takeOver(): Promise<void>;
};

export type NodeFault = {
  readonly name: string;
  /** What it happens to: the node of the head, one that has a replica only, or the store. */
  readonly target: 'head' | 'member' | 'store';
  /** With it alone the volume's minimum of two replicas is kept, and whoever uses it is served again while it lasts. */
  readonly isBorne: boolean;
  /** The longest time between two answers, "stall" of the bars. None: it lasts as long as the fault, or no bar says. */
  readonly barMs?: number;
  /** The bar counts from the request to attach it elsewhere. */
  readonly takesOver?: true;
  begin(scene: Scene, node: string): Promise<void>;
  undo(scene: Scene, node: string): Promise<void>;
};

const others = ({ stage }: Scene, node: string): string[] =>
  stage.machines.filter((each) => each !== node);

/** What `node` hears of the others, and they of it, in percent that is lost. */
async function lose(scene: Scene, node: string, { out, into }: { out: number; into: number }) {
  for (const other of others(scene, node)) {
    await scene.stage.network.lose(node, other, out);
    await scene.stage.network.lose(other, node, into);
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

function signalAll({ stage }: Scene, node: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (const role of stage.cluster.roles) stage.cluster.node(node).signal(role, signal);
}

const stopping = (role: Role): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name: `${role} stopped`,
  begin: async ({ stage }, node) => stage.cluster.node(node).signal(role, 'SIGSTOP'),
  undo: async ({ stage }, node) => stage.cluster.node(node).signal(role, 'SIGCONT'),
});

const killingControl: Pick<NodeFault, 'name' | 'begin' | 'undo'> = {
  name: 'control killed',
  begin: ({ stage }, node) => stage.cluster.node(node).kill('control'),
  undo: ({ stage }, node) => stage.cluster.node(node).startControl(),
};

const jumping = (
  name: string,
  aheadSeconds: number,
): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name,
  begin: async ({ stage }, node) => stage.setClock(node, aheadSeconds),
  undo: async ({ stage }, node) => stage.setClock(node, 0),
});

const DAY_SECONDS = 86_400;

const slowing = (slowness: Slowness): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name: `wire of ${slowness.delayMs} ms and more, ${slowness.lossPercent} % lost`,
  begin: ({ stage }, node) => stage.network.slow(node, slowness),
  undo: ({ stage }, node) => stage.network.slow(node, undefined),
});

const afflicting = (
  name: string,
  illness: Illness,
): Pick<NodeFault, 'name' | 'begin' | 'undo'> => ({
  name,
  begin: ({ stage }, node) => stage.afflict(node, illness),
  undo: ({ stage }, node) => stage.afflict(node, undefined),
});

/** A drive that failed a write is stopped for good: its engine must be started again. */
const failing: Pick<NodeFault, 'name' | 'begin' | 'undo'> = {
  ...afflicting('drive fails', 'fails'),
  undo: async ({ stage }, node) => {
    await stage.afflict(node, undefined);
    await stage.cluster.node(node).kill('engine');
    stage.cluster.node(node).start('engine');
  },
};

/** "None" in the bars: no longer than a flush on a busy disk. */
const NONE_MS = 250;

export const NODE_FAULTS: readonly NodeFault[] = [
  {
    name: 'engine killed',
    target: 'member',
    isBorne: true,
    barMs: 250,
    begin: ({ stage }, node) => stage.cluster.node(node).kill('engine'),
    undo: async ({ stage }, node) => stage.cluster.node(node).start('engine'),
  },
  {
    name: 'engine killed, and started at once',
    target: 'head',
    isBorne: true,
    barMs: 2000,
    begin: async ({ stage }, node) => {
      await stage.cluster.node(node).kill('engine');
      stage.cluster.node(node).start('engine');
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
    begin: ({ stage }, node) => stage.cluster.killNode(node),
    undo: ({ stage }, node) => stage.cluster.startNode(node),
  },
  {
    name: 'node killed, taken over',
    target: 'head',
    isBorne: true,
    barMs: 3000,
    takesOver: true,
    begin: async (scene, node) => {
      await scene.stage.cluster.killNode(node);
      await scene.takeOver();
    },
    undo: ({ stage }, node) => stage.cluster.startNode(node),
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
    begin: ({ stage }, node) => stage.network.limit(node, 1000),
    undo: ({ stage }, node) => stage.network.limit(node, undefined),
  },
  {
    name: 'slow line',
    target: 'head',
    isBorne: true,
    begin: ({ stage }, node) => stage.network.limit(node, 10_000),
    undo: ({ stage }, node) => stage.network.limit(node, undefined),
  },
  { ...slowing({ delayMs: 30, lossPercent: 3 }), target: 'member', isBorne: true },
  { ...slowing({ delayMs: 5, lossPercent: 1 }), target: 'head', isBorne: true },
  { ...jumping('clock a day ahead', DAY_SECONDS), target: 'member', isBorne: true, barMs: NONE_MS },
  { ...jumping('clock a day ahead', DAY_SECONDS), target: 'head', isBorne: true, barMs: NONE_MS },
  {
    ...jumping('clock a day behind', -DAY_SECONDS),
    target: 'member',
    isBorne: true,
    barMs: NONE_MS,
  },
  { ...jumping('clock a day behind', -DAY_SECONDS), target: 'head', isBorne: true, barMs: NONE_MS },
  { ...afflicting('drive hangs', 'hangs'), target: 'member', isBorne: true, barMs: 2000 },
  { ...afflicting('drive hangs', 'hangs'), target: 'head', isBorne: true, barMs: 2000 },
  { ...afflicting('flushes slow', 'slow'), target: 'member', isBorne: true },
  { ...afflicting('flushes slow', 'slow'), target: 'head', isBorne: true },
  { ...afflicting('reads fail', 'unreadable'), target: 'member', isBorne: true },
  { ...afflicting('reads fail', 'unreadable'), target: 'head', isBorne: true },
  { ...failing, target: 'member', isBorne: true },
  { ...failing, target: 'head', isBorne: true },
  {
    name: 'killed',
    target: 'store',
    isBorne: true,
    barMs: NONE_MS,
    begin: async ({ stage }) => stage.store?.kill(),
    undo: async ({ stage }) => stage.store?.up(),
  },
  {
    name: 'stopped',
    target: 'store',
    isBorne: true,
    barMs: NONE_MS,
    begin: async ({ stage }) => stage.store?.signal('SIGSTOP'),
    undo: async ({ stage }) => stage.store?.signal('SIGCONT'),
  },
  { ...cutting('cut off', CUT), target: 'store', isBorne: true, barMs: NONE_MS },
  {
    ...cutting('cut off, is heard', { out: 0, into: 100 }),
    target: 'store',
    isBorne: true,
    barMs: NONE_MS,
  },
];
