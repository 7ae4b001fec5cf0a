/**
 * A head's member on a drive of its own engine: no wire, no copy, the same promises as a link over one (src/peer/link.ts). Its requests
 * use the memory that they name until the drive has done with it, also when the head has given the replica up: {@link MemoryUses} knows.
 */

import { Answer, type Request } from '../../replication/messages.ts';
import type { ReplicaId } from '../../replication/record.ts';
import type { Replica } from '../../replication/replica.ts';
import type { MemoryUses } from '../memory-uses.ts';
import type { Replicas } from './replicas.ts';

/** What a head is told of its connection to one replica, never inside a call of the head's. */
export type LinkHost = {
  onConnected(): void;
  /** No connection could be made, or the one there was is gone. `refused`: the replica is not there. */
  onUnreachable(refused: boolean): void;
  /** The answer is reused after the call. */
  onAnswer(answer: Answer): void;
};

/** A connection to one replica, made anew as often as it is asked for. */
export type Link = {
  /** Ends in `onConnected` or `onUnreachable`; an earlier connection is closed. */
  connect(): void;
  /** Without effect where there is no connection. The request is reused after the call. */
  send(request: Request): void;
  close(): void;
  tick(): void;
};

export type LocalLinkOptions = {
  readonly replicas: Pick<Replicas, 'connect' | 'disconnect'>;
  readonly memory: MemoryUses;
  /** Runs `step` soon, outside of what is on the stack. */
  readonly defer: (step: () => void) => void;
};

export class LocalLink implements Link {
  readonly #replica: ReplicaId;
  readonly #options: LocalLinkOptions;
  readonly #host: LinkHost;
  #line: LocalLine | undefined;
  #attempt = 0;

  constructor(replica: ReplicaId, options: LocalLinkOptions, host: LinkHost) {
    this.#replica = replica;
    this.#options = options;
    this.#host = host;
  }

  connect(): void {
    this.close();
    const attempt = this.#attempt;
    this.#options.defer(() => {
      if (attempt !== this.#attempt) return;
      const line = new LocalLine(this.#options, {
        onAnswer: (answer) => this.#host.onAnswer(answer),
        onClosed: () => {
          if (this.#line !== line) return;
          this.close();
          this.#host.onUnreachable(true);
        },
      });
      if (line.open(this.#replica)) {
        this.#line = line;
        this.#host.onConnected();
      } else {
        this.#host.onUnreachable(true);
      }
    });
  }

  send(request: Request): void {
    this.#line?.send(request);
  }

  close(): void {
    this.#attempt += 1;
    const line = this.#line;
    this.#line = undefined;
    line?.close();
  }

  tick(): void {
    // The replica has its own.
  }
}

type LineHost = { readonly onAnswer: (answer: Answer) => void; readonly onClosed: () => void };

/** One connection. It goes on after its close until the replica has done with all that it was asked. */
class LocalLine {
  readonly #options: LocalLinkOptions;
  readonly #host: LineHost;
  #connection = 0;
  #replica: Replica | undefined;
  #isClosed = false;
  #isSending = false;
  readonly #free: number[] = [];
  // By slot, which is the request's token to the replica:
  readonly #tokens: number[] = [];
  /** The memory that it uses; 0: none. */
  readonly #addresses: number[] = [];

  constructor(options: LocalLinkOptions, host: LineHost) {
    this.#options = options;
    this.#host = host;
  }

  /** False: the replica is not here. */
  open(replica: ReplicaId): boolean {
    const connection = this.#options.replicas.connect(replica, {
      answer: (answer) => this.#onAnswer(answer),
      dropped: (slot) => {
        this.#release(slot);
      },
      closed: () => this.#onReplicaClosed(),
    });
    this.#connection = connection?.number ?? 0;
    this.#replica = connection?.replica;
    return connection !== undefined;
  }

  send(request: Request): void {
    const replica = this.#replica;
    if (replica === undefined) return;
    const { kind, address, token } = request;
    const slot = this.#free.pop() ?? this.#tokens.length;
    const usesMemory = kind === 'read' || kind === 'write' || kind === 'copy';
    this.#tokens[slot] = token;
    this.#addresses[slot] = usesMemory ? address : 0;
    if (usesMemory) this.#options.memory.use(address);
    request.token = slot;
    this.#isSending = true;
    replica.receive(this.#connection, request);
    this.#isSending = false;
    request.token = token;
  }

  close(): void {
    this.#isClosed = true;
    this.#endIfDone();
  }

  #onAnswer(answer: Answer): void {
    const token = this.#release(answer.token);
    if (this.#isClosed) return;
    answer.token = token;
    if (!this.#isSending) {
      this.#host.onAnswer(answer);
      return;
    }
    const copy = Object.assign(new Answer(), answer);
    this.#options.defer(() => {
      if (!this.#isClosed) this.#host.onAnswer(copy);
    });
  }

  /** The replica has done with the memory of what has this slot; the head's token of it. */
  #release(slot: number): number {
    const address = this.#addresses[slot] ?? 0;
    this.#addresses[slot] = 0;
    if (address !== 0) this.#options.memory.release(address);
    this.#free.push(slot);
    this.#endIfDone();
    return this.#tokens[slot] ?? 0;
  }

  #endIfDone(): void {
    const isDone = this.#free.length === this.#tokens.length;
    if (this.#isClosed && isDone) this.#options.replicas.disconnect(this.#connection);
  }

  #onReplicaClosed(): void {
    this.#replica = undefined;
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.defer(() => this.#host.onClosed());
  }
}
