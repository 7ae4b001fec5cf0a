/** The content of one replica, on a drive of this engine: what {@link Replica} asks of it, done by the drive store. */

import { EIO } from '../../model/errno.ts';
import { Fault, Refusal } from '../../model/errors.ts';
import { BLOCK_BYTES } from '../../model/block-target.ts';
import {
  type Digest,
  EXTENT_BYTES,
  type Mark,
  type Request,
  type SurveyEntry,
} from '../../replication/messages.ts';
import type { Life } from '../../replication/record.ts';
import type { ReplicaContent, ReplicaState } from '../../replication/replica.ts';
import { formatState, parseState } from '../../replication/state-bytes.ts';
import type { DriveStore } from '../../store/drive-store.ts';
import type { MarkedChange, ReplicaVolume } from '../../store/replica-volume.ts';
import type { ExtentBuffers } from './extent-buffers.ts';

/** As many as one answer over the wire has room for (docs/peer-protocol.md). */
const MARKS_PER_ANSWER = 2048;

export type DriveContentHost = {
  readonly buffers: ExtentBuffers;
  /** What was asked under `token` is over; never inside the call that asked. */
  onDone(token: number, errno: number): void;
  /** Promise jobs run before the reactor waits: what was asked goes on in some. */
  yieldTurn(): void;
};

/** A copy, of which each run of blocks with data, and of holes, is a request to the drive. */
type Copy = { readonly token: number; left: number; errno: number };

export class DriveContent implements ReplicaContent {
  readonly state: ReplicaState;
  readonly #volume: ReplicaVolume;
  readonly #host: DriveContentHost;
  /** By the tokens of their requests, which are negative. */
  readonly #copies = new Map<number, Copy>();
  #nextCopyToken = -1;
  /** Reused for each change that is asked of the drive. */
  readonly #change = { epoch: 0, number: 0, stamp: 0, fua: false, allocate: false };
  #isOver = false;

  /** Of the volume `uuid`, which was made as a replica. Throws a Fault REPLICA_STATE. */
  constructor(store: DriveStore, uuid: string, host: DriveContentHost) {
    this.#host = host;
    this.#volume = store.openReplica(uuid, (token, errno) => this.#onDone(token, errno));
    this.state = parseState(this.#volume.seen);
  }

  get life(): Life {
    return this.#volume.life;
  }

  /** The drive is about to be closed: what is asked from now on ends in EIO, what was asked before as it may. */
  end(): void {
    this.#isOver = true;
  }

  read(token: number, { offsetBytes, lengthBytes, address }: Request): void {
    if (this.#isOver) this.#refuse(token);
    else this.#volume.read(token, offsetBytes / BLOCK_BYTES, lengthBytes / BLOCK_BYTES, address);
  }

  change(token: number, request: Request): void {
    if (this.#isOver) {
      this.#refuse(token);
      return;
    }
    switch (request.kind) {
      case 'write':
        this.#volume.write(token, request, request.address, this.#changeOf(request));
        break;
      case 'zero':
        this.#volume.zero(token, request, this.#changeOf(request));
        break;
      case 'trim':
        this.#volume.trim(token, request, this.#changeOf(request));
        break;
      default:
        this.#copy(token, request);
    }
  }

  flush(token: number): void {
    if (this.#isOver) this.#refuse(token);
    else this.#volume.flush(token);
  }

  keep(token: number, state: ReplicaState): void {
    const sizeBytes = state.seen?.sizeBytes ?? this.#volume.sizeBytes;
    if (this.#isOver) this.#refuse(token);
    else this.#await(token, this.#volume.keep(formatState(state), sizeBytes));
  }

  stamp(token: number, epoch: number): void {
    if (this.#isOver) this.#refuse(token);
    else this.#await(token, this.#volume.stamp(epoch));
  }

  dropMarks(epoch: number, number: number): void {
    this.#volume.dropMarks(epoch, number);
  }

  marks(firstExtent: number): readonly Mark[] {
    const marks = this.#volume.marks();
    const first = marks.findIndex(({ extent }) => extent >= firstExtent);
    return first < 0 ? [] : marks.slice(first, first + MARKS_PER_ANSWER);
  }

  digest(token: number, extent: number, onDigest: (digest: Digest) => void): void {
    const digest = async (): Promise<number> => {
      const { buffers } = this.#host;
      const address = await new Promise<number>((resolve) => buffers.borrow(resolve));
      try {
        const digested = await this.#volume.digest(extent, address);
        if ('errno' in digested) return digested.errno;
        onDigest(digested);
        return 0;
      } finally {
        buffers.giveBack(address);
      }
    };
    if (this.#isOver) this.#refuse(token);
    else this.#await(token, digest());
  }

  survey(firstExtent: number, count: number): readonly SurveyEntry[] {
    return this.#volume.survey(firstExtent, count);
  }

  /** Of one extent: its blocks with data are written, the others become holes. */
  #copy(token: number, request: Request): void {
    const { offsetBytes, lengthBytes, address, dataMask } = request;
    const first = (offsetBytes % EXTENT_BYTES) / BLOCK_BYTES;
    const end = first + Math.ceil(lengthBytes / BLOCK_BYTES);
    const hasData = (block: number): boolean => (dataMask & (1 << block)) !== 0;
    const copy: Copy = { token, left: 0, errno: 0 };
    for (let from = first; from < end;) {
      let to = from + 1;
      while (to < end && hasData(to) === hasData(from)) to++;
      const at = (from - first) * BLOCK_BYTES;
      const range = {
        offsetBytes: offsetBytes + at,
        lengthBytes: Math.min((to - from) * BLOCK_BYTES, lengthBytes - at),
      };
      const own = this.#nextCopyToken--;
      this.#copies.set(own, copy);
      copy.left++;
      if (hasData(from)) this.#volume.write(own, range, address + at, this.#changeOf(request));
      else this.#volume.zero(own, range, this.#changeOf(request));
      from = to;
    }
  }

  #changeOf(request: Request): MarkedChange & { readonly allocate: boolean } {
    const change = this.#change;
    change.epoch = request.epoch;
    change.number = request.number;
    change.stamp = request.kind === 'copy' ? request.stamp : request.epoch;
    change.fua = request.fua;
    change.allocate = request.kind === 'zero' && request.allocate;
    return change;
  }

  #onDone(token: number, errno: number): void {
    const copy = token < 0 ? this.#copies.get(token) : undefined;
    if (copy === undefined) {
      this.#host.onDone(token, errno);
      return;
    }
    this.#copies.delete(token);
    if (copy.errno === 0) copy.errno = errno;
    if (--copy.left === 0) this.#host.onDone(copy.token, copy.errno);
  }

  #refuse(token: number): void {
    this.#await(token, Promise.resolve(EIO));
  }

  #await(token: number, work: Promise<number | void>): void {
    const end = (errno: number): void => {
      this.#host.onDone(token, errno);
      this.#host.yieldTurn();
    };
    void work.then(
      (errno) => end(errno ?? 0),
      (error: unknown) => {
        // A drive that stopped, or has no room for what a snapshot holds: the replica's session ends with that.
        if (!(error instanceof Fault || error instanceof Refusal)) throw error;
        end(EIO);
      },
    );
    this.#host.yieldTurn();
  }
}
