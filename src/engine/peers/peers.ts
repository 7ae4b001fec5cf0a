/**
 * The other engines of the cluster, for one that is a node of it: they reach the replicas here, and heads here those on them
 * (docs/peer-protocol.md). Control connections are Node's, data connections are of `env.io`.
 */

import type { Cipher } from '../../env/aead.ts';
import type { Env, TcpListener } from '../../env/env.ts';
import { IoAsync } from '../../env/io-async.ts';
import {
  type ClusterConnection,
  type ClusterListener,
  type NodeIdentity,
  listenForNodes,
} from '../../env/node/cluster-tls.ts';
import type { ClusterNode } from '../../env/node/node-identity.ts';
import type { TcpAddress } from '../../env/tcp-address.ts';
import type { Arena } from '../../lib/arena.ts';
import { type Checksum, checksumOf } from '../../lib/checksum.ts';
import type { Log } from '../../model/log.ts';
import { type Guards, type Side, guardsOf, proofOf } from '../../peer/keys.ts';
import { type Dialled, type NotDialled, PeerLink } from '../../peer/link.ts';
import { PeerServer } from '../../peer/server.ts';
import { Tickets } from '../../peer/tickets.ts';
import { PeerTransport, transportBytes } from '../../peer/transport.ts';
import type { ReplicaId } from '../../replication/record.ts';
import type { Link, LinkHost } from '../replicas/local-link.ts';
import { AcceptedNode } from './accepted-node.ts';
import { DialledNode, type Granted, type NotGranted } from './dialled-node.ts';

/** Data connections of heads and of replicas: 2.8 GiB of the arena's 4, touched as far as they are used. A volume has four on three nodes. */
const CONNECTIONS_MAX = 384;
/** What the peers of an engine reserve of its arena. */
export const PEERS_MEMORY_BYTES: number = transportBytes(CONNECTIONS_MAX);
/** Between two tries to listen. */
const LISTEN_RETRY_MS = 1000;

/** The node that an engine is of, and what it proves that with. */
export type EngineNode = {
  readonly self: ClusterNode;
  readonly identity: NodeIdentity;
  readonly cipher: Cipher;
};

/** Where the engine of a node is reached. */
export type PeerAddress = TcpAddress & { readonly node: string };

export type PeersOptions = EngineNode & {
  readonly arena: Arena;
  readonly log: Log;
  /** A random id of this process. */
  readonly engine: string;
  /** A connection of another engine's is there: {@link Peers.tick} is needed. */
  readonly onConnection: () => void;
};

export class Peers {
  readonly server: PeerServer;
  readonly #env: Env;
  readonly #options: PeersOptions;
  readonly #ioAsync: IoAsync;
  readonly #checksum: Checksum;
  readonly #tickets: Tickets;
  readonly #transport: PeerTransport;
  /** The other nodes, by name. */
  readonly #nodes = new Map<string, DialledNode>();
  /** Control connections of others, one for each node: the newest. */
  readonly #accepted = new Map<string, AcceptedNode>();
  #data: TcpListener | undefined;
  #listener: ClusterListener | undefined;
  #notListening: string | undefined;
  #isClosed = false;

  constructor(env: Env, options: PeersOptions) {
    this.#env = env;
    this.#options = options;
    this.#ioAsync = new IoAsync(env.io);
    this.#checksum = checksumOf(env.io.memory);
    this.#tickets = new Tickets(env);
    this.#transport = new PeerTransport(env.io, options.arena, CONNECTIONS_MAX);
    this.server = new PeerServer(this.#transport, {
      admit: (ticket, proof) => {
        const grant = this.#tickets.take(ticket, proof);
        if (grant === undefined) return undefined;
        const { replica, exported, sealed } = grant;
        return { replica, guards: this.#guards(exported, { side: 'accepting', sealed }) };
      },
      onConnection: () => options.onConnection(),
      onEnd: (replica, code) => options.log('peer.connection_ended', { replica, code }),
    });
  }

  /** What a person should know: nothing, mostly. */
  get warnings(): readonly string[] {
    return this.#notListening === undefined ? [] : [this.#notListening];
  }

  /** There is no connection of another engine's for which {@link tick} is needed. */
  get isIdle(): boolean {
    return this.server.isIdle;
  }

  /** Lets other engines in, once the replicas here are open. Where the port cannot be had it is tried again, until {@link close}. */
  async listen(): Promise<void> {
    const { log, self } = this.#options;
    const { host, port } = self.peer;
    while (!this.#isClosed) {
      try {
        await this.#tryToListen();
        this.#notListening = undefined;
        log('peer.listening', { host, port });
        return;
      } catch (error) {
        const problem = `Other engines cannot connect at ${host}:${port}: ${String(error)}`;
        if (this.#notListening === undefined) log('peer.not_listening', { problem });
        this.#notListening = problem;
        await this.#ioAsync.sleep(LISTEN_RETRY_MS);
      }
    }
  }

  /** The other nodes of the cluster, all of them; this one may be among them. */
  set(nodes: readonly PeerAddress[]): void {
    const { self } = this.#options;
    const wanted = new Map(nodes.map((each) => [each.node, each]));
    wanted.delete(self.node);
    for (const [node, dialled] of this.#nodes) {
      const { host, port } = wanted.get(node) ?? {};
      if (host === dialled.address.host && port === dialled.address.port) continue;
      this.#nodes.delete(node);
      dialled.close();
    }
    for (const [node, { host, port }] of wanted) {
      if (!this.#nodes.has(node)) this.#nodes.set(node, this.#dialledNode(node, { host, port }));
    }
  }

  /** The name of the node that this engine is of. */
  get node(): string {
    return this.#options.self.node;
  }

  /** A link to a replica on another node. */
  link(replica: ReplicaId, node: string, host: LinkHost): Link {
    return new PeerLink(replica, this.#transport, {
      dial: (_, onDone) => {
        const { sealed } = this.#options.self.peer;
        this.#dial({ replica, node, sealed }, onDone);
      },
      onConnected: () => host.onConnected(),
      onUnreachable: (isRefused, code) => {
        if (code !== undefined) this.#options.log('peer.connection_ended', { replica, code });
        host.onUnreachable(isRefused);
      },
      onAnswer: (answer) => host.onAnswer(answer),
    });
  }

  /** Time has passed: called a few times a second while there is a head or a connection. */
  tick(): void {
    this.server.tick();
    for (const node of this.#nodes.values()) node.tick();
  }

  /** Lets nobody in any more, and ends what there is. */
  close(): void {
    this.#isClosed = true;
    this.server.close();
    this.#listener?.close();
    for (const accepted of this.#accepted.values()) accepted.close();
    this.set([]);
  }

  async #tryToListen(): Promise<void> {
    const { identity, log, self } = this.#options;
    const { host, port } = self.peer;
    this.#data ??= await this.#env.files.listenTcp({ host, port: 0 });
    const dataPort = this.#data.port;
    const listener = await listenForNodes(
      identity,
      { host, port },
      {
        onConnection: (connection) => this.#onAccepted(connection, dataPort),
        onRefused: (problem) => log('peer.refused', { problem }),
      },
    );
    this.#listener = listener;
    if (this.#isClosed) listener.close();
    else this.server.listen(this.#data.fd);
  }

  #onAccepted(connection: ClusterConnection, dataPort: number): void {
    const { engine, log, self } = this.#options;
    const { node } = connection;
    const accepted: AcceptedNode = new AcceptedNode(connection, {
      node: self.node,
      engine,
      tickets: this.#tickets,
      dataPort,
      mustSeal: self.peer.sealed,
      isListed: (name) => this.#nodes.has(name),
      hasReplica: (replica) => this.server.has(replica),
      onRefused: (problem) => log('peer.refused', { node, problem }),
      onClosed: () => {
        if (this.#accepted.get(node) === accepted) this.#accepted.delete(node);
      },
    });
    // Its engine has one at a time: the other is of a process that is gone, or about to be.
    this.#accepted.get(node)?.close();
    this.#accepted.set(node, accepted);
  }

  #dialledNode(node: string, address: TcpAddress): DialledNode {
    const { engine, identity, log, self } = this.#options;
    let told: string | undefined;
    return new DialledNode(node, address, {
      node: self.node,
      engine,
      identity,
      nowMs: () => this.#env.clock.bootMs(),
      yieldTurn: () => this.#env.io.yieldTurn(),
      onReached: () => (told = undefined),
      // It is tried many times a second.
      onProblem: (problem) => {
        if (problem !== told) log('peer.not_reached', { node, problem });
        told = problem;
      },
    });
  }

  #dial(
    {
      node,
      ...what
    }: { readonly replica: ReplicaId; readonly node: string; readonly sealed: boolean },
    onDone: (result: Dialled | NotDialled) => void,
  ): void {
    const done = (result: Granted | NotGranted): void => {
      if (result === 'seal') {
        // That node wants it so; this one does not mind.
        if (what.sealed) onDone('silent');
        else this.#dial({ ...what, node, sealed: true }, onDone);
      } else if (typeof result === 'string') onDone(result);
      else {
        const { ticket, exported, to } = result;
        const proof = proofOf(exported).slice();
        const guards = this.#guards(exported, { side: 'dialling', sealed: what.sealed });
        onDone({ ticket, proof, to, guards });
      }
    };
    const dialled = this.#nodes.get(node);
    if (dialled !== undefined) dialled.ask({ ...what, onDone: done });
    else {
      queueMicrotask(() => onDone('silent'));
      this.#env.io.yieldTurn();
    }
  }

  #guards(exported: Uint8Array, { side, sealed }: { side: Side; sealed: boolean }): Guards {
    const { arena, cipher } = this.#options;
    const checksum = this.#checksum;
    return guardsOf(exported, side, { arena, checksum, cipher: sealed ? cipher : undefined });
  }
}
