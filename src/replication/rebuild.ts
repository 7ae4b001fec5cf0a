/**
 * Makes a replica outside S equal while the volume is in use, and a member (docs/replication.md, "Rebuild"). It gets all changes from
 * the start; what it missed is copied under a hold of its range.
 */

import type { Head } from './head.ts';
import type { Member } from './member.ts';
import { epochOf, missedExtents } from './missed-extents.ts';
import { EXTENT_BYTES, SURVEY_EXTENTS, type SurveyEntry } from './messages.ts';
import { type ReplicaId, withMembers } from './record.ts';

/** Extents copied at once while clients ask for nothing: they find some of the 16 slots of a connection for what is large. */
const HOLDS_MAX = 12;
/** Each request of clients under way takes the place of one, down to so many. */
const HOLDS_MIN = 4;

type Phase =
  | 'waiting'
  | 'settling'
  | 'copying'
  | 'catching up'
  | 'flushing'
  | 'flushed'
  | 'submitted'
  | 'over';

export class Rebuild {
  readonly replica: ReplicaId;
  readonly #head: Head;
  readonly #member: Member;
  #phase: Phase = 'waiting';
  /** Changes from here on were sent to the target. */
  #firstNumber = 0;
  /** What is looked at. Beyond it, where the volume has grown since, nothing was written before the target was sent all of it. */
  #sizeBytes = 0;
  #nextExtent = 0;
  #flushedSeats = 0;

  readonly #replaced: ReplicaId | undefined;

  /** `replaced`: a member that leaves S in the transaction in which the other one joins. */
  constructor(head: Head, member: Member, replaced?: ReplicaId) {
    this.replica = member.replica;
    this.#head = head;
    this.#member = member;
    this.#replaced = replaced;
    member.isTarget = true;
    head.updateNeeded();
    head.members.reach(member, head.changer.known);
  }

  /** Its session is open: it gets every change that is sent from now on. */
  onOpened(): void {
    this.#phase = 'settling';
    this.#firstNumber = this.#head.path.nextNumber;
    this.#sizeBytes = this.#head.changer.known.sizeBytes;
    this.advance();
  }

  /** Goes on if what it waits for is there. */
  advance(): void {
    const { path, changer } = this.#head;
    if (this.#phase === 'settling') {
      // The members have the size that the target was opened with.
      if (path.oldestNumber < this.#firstNumber || !this.#head.isRecorded) return;
      this.#phase = 'copying';
      this.#survey();
    } else if (this.#phase === 'catching up' && path.hasTakenAll(this.#member.seat)) {
      this.#flush();
    } else if (this.#phase === 'flushed' && changer.pending === undefined) {
      if ((path.neededSeats & ~this.#flushedSeats) === 0) this.#join();
      else this.#flush();
    }
  }

  /** The target is lost, or the head begins anew. A join whose outcome is not known goes on: the target is needed until it is. */
  abort(): void {
    if (this.#phase === 'submitted' || this.#phase === 'over') return;
    this.#phase = 'over';
    this.#head.host.onEvent('rebuild given up');
    this.#head.removeRebuild(this);
    this.#member.isTarget = false;
    this.#member.isJoining = false;
    this.#head.members.remove(this.#member);
    this.#head.updateNeeded();
  }

  #survey(): void {
    const { path } = this.#head;
    const firstExtent = this.#nextExtent;
    if (firstExtent * EXTENT_BYTES >= this.#sizeBytes) {
      this.#catchUp();
      return;
    }
    this.#nextExtent += SURVEY_EXTENTS;
    const [source] = path.readSeats;
    if (source === undefined) {
      this.abort();
      return;
    }
    const surveys = new Map<number, readonly SurveyEntry[]>();
    path.ask({
      kind: 'survey',
      seats: source | this.#member.seat,
      number: firstExtent,
      onAnswer: (member, { survey }) => surveys.set(member.seat, survey),
      onDone: (errno) => {
        if (this.#phase !== 'copying') return;
        if (errno !== 0 || (source & path.memberSeats) === 0) this.abort();
        else {
          const ours = surveys.get(source) ?? [];
          const theirs = surveys.get(this.#member.seat) ?? [];
          const end = Math.ceil(this.#sizeBytes / EXTENT_BYTES);
          const { lineage } = this.#head.changer.known;
          const missed = missedExtents(ours, theirs, epochOf(this.#member.base, lineage));
          const held = new Set(theirs.map(({ extent }) => extent));
          this.#copy(
            missed.filter((extent) => extent < end),
            held,
          );
        }
      },
    });
  }

  /** `held`: those of which the target has data. */
  #copy(extents: readonly number[], held: ReadonlySet<number>): void {
    let next = 0;
    let underWay = 0;
    let failed = false;
    const advance = (): void => {
      while (!failed && next < extents.length && underWay < this.#holdsMax) {
        underWay++;
        const extent = extents[next++]!;
        this.#copyOne(extent, !held.has(extent), (errno) => {
          underWay--;
          failed ||= errno !== 0;
          advance();
        });
      }
      if (underWay > 0 || this.#phase !== 'copying') return;
      if (failed) this.abort();
      else if (next === extents.length) {
        next++;
        this.#survey();
      }
    };
    advance();
  }

  get #holdsMax(): number {
    return Math.max(HOLDS_MIN, HOLDS_MAX - this.#head.path.operations.clientCount);
  }

  #copyOne(extent: number, isNew: boolean, onDone: (errno: number) => void): void {
    const { path, copier } = this.#head;
    const plan = () => ({ sources: path.readSeats, seats: this.#member.seat, isNew });
    copier.equaliseHeld(extent, { sizeBytes: this.#sizeBytes, plan }, onDone);
  }

  /** From here on nothing is acknowledged without the target; what was is awaited, or the flush would not cover it there. */
  #catchUp(): void {
    this.#phase = 'catching up';
    this.#member.isJoining = true;
    this.#head.updateNeeded();
    this.advance();
  }

  /** Of S and target together, after everything was copied: so the target lacks no mark that still means something. */
  #flush(): void {
    const { path } = this.#head;
    this.#phase = 'flushing';
    const seats = path.neededSeats;
    path.ask({
      kind: 'flush',
      seats,
      onDone: (errno) => {
        if (this.#phase !== 'flushing') return;
        if (errno !== 0) {
          this.abort();
          return;
        }
        this.#flushedSeats = seats;
        this.#phase = 'flushed';
        this.advance();
      },
    });
  }

  #join(): void {
    const head = this.#head;
    const { known } = head.changer;
    const lives = new Map([[this.replica, this.#member.life]]);
    const stay = [...known.members.keys()].filter((replica) => replica !== this.#replaced);
    const writer = head.host.newWriter();
    this.#phase = 'submitted';
    head.transact(withMembers(known, [...stay, this.replica], { writer, lives }), () => {
      this.#phase = 'over';
      head.host.onEvent(stay.length < known.members.size ? 'member replaced' : 'member joined');
      this.#member.isJoining = false;
      head.removeRebuild(this);
      head.outgrow(known.members.keys());
    });
  }
}
