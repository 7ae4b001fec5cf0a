/**
 * Judges nodes by their heartbeats: up, unreachable, down. A node that is down gets nothing new, and the grace time of its replicas runs
 * (repairs.ts); whether a volume's I/O goes on without it is decided by the volume's head, long before. Times are of one monotonic clock.
 */

import { assert } from '../lib/assert.ts';
import type { Liveness } from './model.ts';

/** How often a node is to be heard, and `tick` to be called. */
export const HEARTBEAT_EVERY_MS = 500;
/** Silence of three heartbeats. Nodes that vanish together are all unreachable before the first of them is down. */
const UNREACHABLE_AFTER_MS = 1500;
/** Within 5 s a death is to be decided, with the places of all that has to be placed anew. */
const DOWN_AFTER_MS = 3000;
/** Without a tick for so long, the watcher itself stood still: what nodes sent meanwhile may not have been read. */
const OWN_PAUSE_MS = 1000;

export type LivenessChange = { readonly node: string; readonly liveness: Liveness };

type Watched = { heardMs: number; liveness: Liveness };

export class NodeWatch {
  readonly #nodes = new Map<string, Watched>();
  #tickedMs: number;

  /**
   * `known`: the nodes of the cluster, as they were judged before a restart. One that was up has from now on the time of any that falls silent;
   * one that was down stays so, since then, until it is heard.
   */
  constructor(nowMs: number, known: ReadonlyMap<string, Liveness>) {
    this.#tickedMs = nowMs;
    for (const [name, liveness] of known) this.#nodes.set(name, { heardMs: nowMs, liveness });
  }

  /** A heartbeat came. A node that was not known is from now on. Returns what changed. */
  hear(name: string, nowMs: number): LivenessChange[] {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      this.#nodes.set(name, { heardMs: nowMs, liveness: { kind: 'up' } });
      return [{ node: name, liveness: { kind: 'up' } }];
    }
    node.heardMs = nowMs;
    return node.liveness.kind === 'up' ? [] : [judge(name, node, { kind: 'up' })];
  }

  /** Time passed. Returns what changed. */
  tick(nowMs: number): LivenessChange[] {
    const sinceTickMs = nowMs - this.#tickedMs;
    assert(sinceTickMs >= 0, 'the clock only goes forward');
    this.#tickedMs = nowMs;
    const pausedMs = sinceTickMs >= OWN_PAUSE_MS ? sinceTickMs : 0;
    const changes: LivenessChange[] = [];
    for (const [name, node] of this.#nodes) {
      node.heardMs = Math.min(nowMs, node.heardMs + pausedMs);
      const silentMs = nowMs - node.heardMs;
      const { kind } = node.liveness;
      if (kind !== 'down' && silentMs >= DOWN_AFTER_MS) {
        changes.push(judge(name, node, { kind: 'down', sinceMs: nowMs }));
      } else if (kind === 'up' && silentMs >= UNREACHABLE_AFTER_MS) {
        changes.push(judge(name, node, { kind: 'unreachable', sinceMs: nowMs }));
      }
    }
    return changes;
  }

  /** The node was taken out of the cluster. */
  forget(name: string): void {
    this.#nodes.delete(name);
  }
}

function judge(name: string, node: Watched, liveness: Liveness): LivenessChange {
  node.liveness = liveness;
  return { node: name, liveness };
}
