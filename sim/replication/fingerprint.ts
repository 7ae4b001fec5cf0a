/**
 * Tells states of a cluster apart, in the exhaustive search. What drives, the store, clients and the network hold is looked at. A process
 * is known by all that it did since its start, in its order: from the same start the same steps lead to the same state, but for when its
 * timers run. So two histories that a crash made alike are alike from there on.
 */

import { BLOCK_BYTES } from '../../src/model/block-target.ts';
import { Answer, Request } from '../../src/replication/messages.ts';
import type { Record } from '../../src/replication/record.ts';
import type { Cluster } from './cluster.ts';
import type { Step } from './sim-engine.ts';

export class Fingerprint {
  readonly #cluster: Cluster;
  /** Of what the process of each node did. */
  readonly #lived: number[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    cluster.network.inFlight = new Set();
  }

  /** The process on `node` is about to do this. */
  onStep(node: number, what: Step): void {
    this.#lived[node] = hash(`${this.#lived[node] ?? 0} ${this.#describe(what)}`);
  }

  /** It is gone, and all that it knew. */
  onKilled(node: number): void {
    this.#lived[node] = 0;
  }

  /** Of the cluster as it is now, together with `more` and what is about to happen: a message that arrives is not under way any more. */
  of(more: string, next: Step): number {
    const { engines, network, store, wantedNode, clientNode, client } = this.#cluster;
    const { expectations, requests } = this.#cluster;
    // What was promised is so also while there is no client.
    const expected = client?.fingerprint() ?? expectations.fingerprint([]);
    const nodes = engines.map(
      ({ node, isRunning, start, media, content }) =>
        `${isRunning} ${start} ${this.#lived[node]} ${content?.coming.join()} ${media.fingerprint()}`,
    );
    const messages = [...(network.inFlight ?? [])].map(
      ({ from, to, message }) => `${from} ${to} ${this.#describe(message)}`,
    );
    return hash(
      [
        ...nodes,
        ...messages.toSorted(),
        [...network.cutLinks].toSorted((a, b) => a - b).join(),
        nameOf(store.record),
        [...store.inFlight].join(),
        `${wantedNode} ${clientNode} ${requests.left} ${expected}`,
        this.#cluster.checks.fingerprint(),
        more,
        this.#describe(next),
      ].join('\n'),
    );
  }

  #describe(what: Step): string {
    if (what instanceof Request) return this.#describeRequest(what);
    return what instanceof Answer ? describeAnswer(what) : String(what);
  }

  #describeRequest(request: Request): string {
    const { kind, session, sequence, token, epoch, number, offsetBytes, lengthBytes } = request;
    const { address, fua, dataMask, stamp, head, record } = request;
    const values: number[] = [];
    if (kind === 'write' || kind === 'copy') {
      for (let at = 0; at < lengthBytes; at += BLOCK_BYTES) {
        values.push(this.#cluster.memory.get(address + at));
      }
    }
    return `${kind} ${session} ${sequence} ${token} ${epoch} ${number} ${offsetBytes} ${lengthBytes} ${fua} ${dataMask} ${stamp} ${JSON.stringify(head)} ${nameOf(record)} ${values.join()}`;
  }
}

function describeAnswer(answer: Answer): string {
  const { kind, replica, session, token, errno, life, record, ...rest } = answer;
  return `${kind} ${replica} ${session} ${token} ${errno} ${life} ${nameOf(record)} ${JSON.stringify(rest)}`;
}

/** No two records are alike in these. */
function nameOf(record: Record | undefined): string {
  return `${record?.lineage}.${record?.epoch}.${record?.writer}`;
}

/** 53 bits (cyrb53): that two of some million states have one is a chance of some thousandths. */
function hash(text: string): number {
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return 4294967296 * (2097151 & low) + (high >>> 0);
}
