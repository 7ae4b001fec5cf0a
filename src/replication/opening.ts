/**
 * How a head comes to serve: sessions with the members, S shrunk to those reached, everything marked made equal, flushed, lives
 * registered (docs/replication.md, "Takeover, and every start of a head"). Whatever goes wrong on the way begins it anew.
 */

import { EIO } from '../model/errno.ts';
import { fill } from './fill.ts';
import type { Head } from './head.ts';
import type { Member } from './member.ts';
import { type Life, type ReplicaId, fewest, withMembers } from './record.ts';
import { tellLost } from './review.ts';

/** After a failure it begins anew so much later. */
const RETRY_MS = 50;
/** Members that do not answer for so long are left out. */
const REACH_MS = 1000;

type Phase =
  | 'idle'
  | 'failed'
  | 'sessions'
  | 'filling'
  | 'shrinking'
  | 'recording'
  | 'equalising'
  | 'confirming';

export class Opening {
  readonly #head: Head;
  #phase: Phase = 'idle';
  /** Callbacks of earlier ones are dropped. */
  #round = 0;
  #sinceMs = 0;
  /** Seats of members that are right, the first before the others. */
  #sources: number[] = [];

  /** Replicas outside S that may take the places of members that are gone. */
  readonly #spares = new Set<ReplicaId>();

  constructor(head: Head) {
    this.#head = head;
  }

  /** Where S is too small to go on, `replica` may take the place of a member that is gone. */
  addSpare(replica: ReplicaId): void {
    if (this.#spares.has(replica)) return;
    this.#spares.add(replica);
    const { members, changer } = this.#head;
    if (this.#phase === 'idle') this.#head.reopen();
    else members.reach(members.add(replica), changer.known);
  }

  begin(): void {
    const { members, changer, host } = this.#head;
    this.#phase = 'sessions';
    this.#round++;
    this.#sinceMs = host.now();
    for (const replica of [...changer.known.members.keys(), ...this.#spares]) {
      members.reach(members.add(replica), changer.known);
    }
  }

  /** Goes on if what it waits for is there. */
  advance(): void {
    if (this.#head.changer.pending !== undefined) return;
    if (this.#phase === 'failed') this.#retry();
    else if (this.#phase === 'sessions') this.#gather();
    // A member is back: then nobody has to take its place.
    else if (
      this.#phase === 'filling' &&
      this.#reached().length >= fewest(this.#head.changer.known)
    )
      this.#fail();
    else if (this.#phase === 'recording' && this.#head.isRecorded) this.#collectMarks();
    else if (this.#phase === 'confirming' && this.#head.isRecorded) this.#serve();
  }

  onClosed(member: Member): void {
    if (this.#phase === 'idle' || this.#phase === 'sessions') return;
    const isMember = this.#head.changer.known.members.has(member.replica);
    if (isMember || this.#phase === 'filling') this.#fail();
  }

  #fail(): void {
    this.#phase = 'failed';
    this.#round++;
    this.#sinceMs = this.#head.host.now();
    this.#head.path.suspend();
  }

  #retry(): void {
    if (this.#head.host.now() - this.#sinceMs >= RETRY_MS) this.begin();
  }

  #reached(): Member[] {
    const { changer, members } = this.#head;
    return [...changer.known.members.keys()].flatMap((replica) => {
      const member = members.find(replica);
      return member?.isOpen === true ? [member] : [];
    });
  }

  #gather(): void {
    const head = this.#head;
    const { known } = head.changer;
    const reached = this.#reached();
    const isComplete = reached.length === known.members.size;
    if (!isComplete && head.host.now() - this.#sinceMs < REACH_MS) return;
    const intact = reached.filter((member) => member.life === known.members.get(member.replica));
    const least = fewest(known);
    if (reached.length < least) {
      head.stall(`${reached.length} of at least ${least} in-sync replicas are reached`);
      this.#fillUp(reached, intact);
      return;
    }
    if (intact.length === 0 && head.clientLives) {
      head.stalled =
        'every in-sync replica that is reached lost power, and the client of before lives';
      if (isComplete) head.endSession('session lost');
      return;
    }
    const candidates = intact.length > 0 ? intact : reached;
    this.#sources = this.#inOrder(candidates);
    if (isComplete) {
      this.#record();
      return;
    }
    this.#phase = 'shrinking';
    const round = this.#round;
    const replicas = reached.map((member) => member.replica);
    head.transact(withMembers(known, replicas, { writer: head.host.newWriter() }), () => {
      tellLost(head, 'member left out', { before: known, now: replicas });
      if (round === this.#round) this.#record();
    });
  }

  /** The replica beside the head before others. */
  #inOrder(members: readonly Member[]): number[] {
    const isLocal = ({ replica }: Member): number => Number(replica === this.#head.local);
    return members.toSorted((a, b) => isLocal(b) - isLocal(a)).map(({ seat }) => seat);
  }

  /** Too few are reached: with spares that are made equal to an intact one of them there may be enough. */
  #fillUp(reached: readonly Member[], intact: readonly Member[]): void {
    const head = this.#head;
    const { known } = head.changer;
    const lacking = fewest(known) - reached.length;
    const targets = [...this.#spares].flatMap((replica) => {
      const member = head.members.find(replica);
      return member?.isOpen === true && !known.members.has(replica) ? [member] : [];
    });
    if (intact.length === 0 || targets.length < lacking) return;
    targets.length = lacking;
    this.#phase = 'filling';
    this.#sources = this.#inOrder(intact);
    const seats = reached.reduce((all, { seat }) => all | seat, 0);
    const plan = { sources: this.#sources, reached: seats, targets };
    fill(
      head,
      plan,
      this.#then(() => this.#replace([...reached, ...targets])),
    );
  }

  /** Those that are gone leave S, and those that are equal join it. */
  #replace(next: readonly Member[]): void {
    const head = this.#head;
    const { known } = head.changer;
    const lives = new Map(
      next
        .filter(({ replica }) => !known.members.has(replica))
        .map(({ replica, life }) => [replica, life]),
    );
    const replicas = next.map(({ replica }) => replica);
    const writer = head.host.newWriter();
    const round = this.#round;
    this.#phase = 'shrinking';
    head.transact(withMembers(known, replicas, { writer, lives }), () => {
      head.host.onEvent('gone member replaced');
      if (round === this.#round) this.#record();
    });
  }

  #record(): void {
    this.#phase = 'recording';
    this.advance();
  }

  #collectMarks(): void {
    this.#phase = 'equalising';
    this.#askMarks(0, new Set());
  }

  /** One answer tells of so many: from the end of the shortest on they are asked again, until none has more. */
  #askMarks(firstExtent: number, extents: Set<number>): void {
    const { path } = this.#head;
    let next = Infinity;
    path.ask({
      kind: 'marks',
      number: firstExtent,
      seats: path.neededSeats,
      onAnswer: (_member, { marks }) => {
        for (const mark of marks) extents.add(mark.extent);
        const last = marks.at(-1);
        if (last !== undefined) next = Math.min(next, last.extent + 1);
      },
      onDone: this.#then(() => {
        if (next === Infinity) this.#equalise([...extents]);
        else this.#askMarks(next, extents);
      }),
    });
  }

  #equalise(extents: readonly number[]): void {
    const { path, copier, changer, host } = this.#head;
    if (extents.length > 0) host.onEvent('extents made equal');
    const sources = this.#sources;
    const seats = path.neededSeats & ~(sources[0] ?? 0);
    const { sizeBytes } = changer.known;
    copier.equalise(
      extents,
      { sources, seats, sizeBytes },
      this.#then(() => this.#flush()),
    );
  }

  #flush(): void {
    const { path } = this.#head;
    path.ask({
      kind: 'flush',
      seats: path.neededSeats,
      onDone: this.#then(() => this.#register()),
    });
  }

  /** All members are equal now, durably: the lives in which they are so count from here on. */
  #register(): void {
    const head = this.#head;
    const { known } = head.changer;
    const lives = new Map<ReplicaId, Life>();
    for (const [replica, life] of known.members) {
      const present = head.members.find(replica)?.life;
      if (present !== undefined && present !== life) lives.set(replica, present);
    }
    this.#phase = 'confirming';
    if (lives.size === 0) {
      this.#serve();
      return;
    }
    const round = this.#round;
    const writer = head.host.newWriter();
    head.transact(withMembers(known, known.members.keys(), { writer, lives }), () => {
      head.host.onEvent('lives registered');
      if (round === this.#round) this.advance();
    });
  }

  #serve(): void {
    this.#phase = 'idle';
    this.#spares.clear();
    this.#head.serve();
  }

  /** `next` unless it failed, or something began anew meanwhile. */
  #then(next: () => void): (errno: number) => void {
    const round = this.#round;
    return (errno) => {
      if (round !== this.#round) return;
      if (errno === 0) {
        next();
        return;
      }
      this.#fail();
      const [extent] = this.#head.copier.unreadable;
      if (errno === EIO && extent !== undefined) {
        this.#head.stall(
          `extent ${extent}, in which members may differ, has a block that none of them can read`,
        );
      }
    };
  }
}
