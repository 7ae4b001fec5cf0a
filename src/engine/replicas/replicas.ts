/** The replicas on this engine's drives. Heads talk to them over connections: those of this engine by local links, others by the peer server. */

import { assert } from '../../lib/assert.ts';
import type { Answer } from '../../replication/messages.ts';
import type { Base, Life, Record, ReplicaId } from '../../replication/record.ts';
import { Replica } from '../../replication/replica.ts';
import type { PeerServer } from '../../peer/server.ts';
import type { DriveStore } from '../../store/drive-store.ts';
import { DriveContent } from './drive-content.ts';
import type { ExtentBuffers } from './extent-buffers.ts';

/** A head of this engine. Each request ends in one call of `answer` or `dropped`, with its token, maybe within the call that made it. */
export type LocalClient = {
  /** The answer is reused after the call. */
  answer(answer: Answer): void;
  dropped(token: number): void;
  /** The replica is gone: requests have no effect from now on. Those made before still end, in time. */
  closed(): void;
};

export type ReplicasOptions = {
  /** CLOCK_BOOTTIME, ms. */
  readonly now: () => number;
  readonly buffers: ExtentBuffers;
  readonly yieldTurn: () => void;
  /** Serves heads of other engines; undefined: there are none. */
  readonly peers: Pick<PeerServer, 'add' | 'end' | 'remove' | 'answer' | 'dropped'> | undefined;
};

/** A replica's life, the newest record that it was shown, and up to where it holds what S held. */
export type ReplicaReport = {
  readonly id: ReplicaId;
  readonly life: Life;
  readonly seen: Record | undefined;
  readonly base: Base | undefined;
};

type Opened = { readonly replica: Replica; readonly content: DriveContent };
type LocalConnection = { readonly client: LocalClient; readonly id: ReplicaId };

export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #opened = new Map<ReplicaId, Opened>();
  /** By number, which is negative: the peer server has the others. */
  readonly #connections = new Map<number, LocalConnection>();
  #nextConnection = -1;

  constructor(options: ReplicasOptions) {
    this.#options = options;
  }

  /** Serves the replica `id`, which `store` holds as the volume of that uuid. Throws a Fault REPLICA_STATE. */
  open(id: ReplicaId, store: DriveStore): void {
    const { now, buffers, yieldTurn, peers } = this.#options;
    assert(!this.#opened.has(id), 'a replica is opened once');
    const content: DriveContent = new DriveContent(store, id, {
      buffers,
      yieldTurn,
      onDone: (token, errno) => replica.onDone(token, errno),
    });
    const replica: Replica = new Replica(id, {
      content,
      host: {
        now,
        answer: (connection, answer) => {
          if (connection < 0) this.#connections.get(connection)?.client.answer(answer);
          else peers?.answer(connection, answer);
        },
        dropped: (connection, token) => {
          if (connection < 0) this.#connections.get(connection)?.client.dropped(token);
          else peers?.dropped(connection, token);
        },
      },
    });
    this.#opened.set(id, { replica, content });
    peers?.add(replica);
  }

  /** Its drive is about to be closed: heads lose it, and nothing new is asked of it. {@link forget} follows. */
  end(id: ReplicaId): void {
    this.#opened.get(id)?.content.end();
    this.#opened.delete(id);
    this.#options.peers?.end(id);
    for (const { id: other, client } of this.#connections.values())
      if (other === id) client.closed();
  }

  /** Its drive is closed, and so has ended all that it was asked for. */
  forget(id: ReplicaId): void {
    this.#options.peers?.remove(id);
    for (const [number, connection] of this.#connections) {
      if (connection.id === id) this.#connections.delete(number);
    }
  }

  /** A connection to a replica of this engine, which takes requests until `client.closed`; undefined: it is not here. */
  connect(
    id: ReplicaId,
    client: LocalClient,
  ): { readonly number: number; readonly replica: Replica } | undefined {
    const opened = this.#opened.get(id);
    if (opened === undefined) return undefined;
    const number = this.#nextConnection--;
    this.#connections.set(number, { client, id });
    return { number, replica: opened.replica };
  }

  /** Nothing that was asked over the connection is under way any more, and nothing will be asked. */
  disconnect(number: number): void {
    this.#connections.delete(number);
  }

  /** What the drive has of the volume, for those who know that the replica is in sync. */
  content(id: ReplicaId): DriveContent | undefined {
    return this.#opened.get(id)?.content;
  }

  /** Those that are open, with ids above `after`, in order: what each knows of its history. */
  list(after: ReplicaId, countMax: number): readonly ReplicaReport[] {
    const ids = [...this.#opened.keys()]
      .filter((id) => id > after)
      .toSorted((a, b) => (a < b ? -1 : 1));
    return ids.slice(0, countMax).flatMap((id) => {
      const content = this.#opened.get(id)?.content;
      if (content === undefined) return [];
      const { life, state } = content;
      return [{ id, life, seen: state.seen, base: state.base }];
    });
  }

  /** Time has passed: called at least every 50 ms while there is a connection. */
  tick(): void {
    for (const { replica } of this.#opened.values()) replica.tick();
  }
}
