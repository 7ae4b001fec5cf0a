/**
 * The serving side of one replica, pure: who may use it, and in which order a change of head or of S takes effect
 * (docs/replication.md, "Sessions"). The replica beside its head is served by this class like any other.
 *
 * Invariants:
 *  1. One session at a time. A newer one is answered only after whatever the older one submitted has ended, and its grant too.
 *  2. The newest record seen is durable before the replica does anything under it.
 *  3. Stamps of an epoch are on all marked extents before its record is answered.
 */

import { ESTALE } from '../model/errno.ts';
import {
  Answer,
  type Digest,
  EXTENT_BYTES,
  type Mark,
  type Request,
  SURVEY_EXTENTS,
  type SurveyEntry,
  isChange,
} from './messages.ts';
import {
  type Base,
  type HeadId,
  type Life,
  type Record,
  type ReplicaId,
  isNewer,
  isSame,
  isSameHead,
} from './record.ts';
import { type Work, type WorkBody, WorkList } from './replica-work.ts';

/** Reads are granted for so long, counted from the receipt of a renewal. */
export const GRANT_MS = 1000;

/** What is durable beside the content. */
export type ReplicaState = {
  /** The newest record it was shown; undefined: new, never opened. */
  readonly seen: Record | undefined;
  /** The newest record it saw whose members include it; undefined: its content has no known history. */
  readonly base: Base | undefined;
};

/** The content on its drive. Each call with a token ends in one {@link Replica.onDone}, never inside the call. */
export type ReplicaContent = {
  readonly life: Life;
  /** As it was when the content was opened. */
  readonly state: ReplicaState;
  read(token: number, request: Request): void;
  /** A write, zero, trim or copy, and its mark with it. Done: SIGKILL cannot lose either; with `fua`: power loss cannot. */
  change(token: number, request: Request): void;
  flush(token: number): void;
  /** Makes `state` durable, and the content as large as its record says: what is cut off is gone, what is new reads as zeros. */
  keep(token: number, state: ReplicaState): void;
  /** Gives all marked extents this epoch as that of their last change, durably before a later `keep`. */
  stamp(token: number, epoch: number): void;
  /** Drops marks of epochs below `epoch`, and of changes numbered below `number`. Lazily: losing it leaves marks. */
  dropMarks(epoch: number, number: number): void;
  /** Of the extents from `firstExtent` on, in order, as many as one answer tells of (2,048); none: there are no more. */
  marks(firstExtent: number): readonly Mark[];
  digest(token: number, extent: number, onDigest: (digest: Digest) => void): void;
  /** Of `count` extents from `firstExtent` on, those with data, in order. */
  survey(firstExtent: number, count: number): readonly SurveyEntry[];
};

/** What most answers list. */
const NONE: readonly never[] = [];

export type ReplicaHost = {
  /** CLOCK_BOOTTIME, ms. */
  now(): number;
  /** Sends over the connection, unless it is gone. The answer is reused after the call. */
  answer(connection: number, answer: Answer): void;
  /** A request without an answer: a `durable`, or its session is over. Its memory is the sender's again. Each one is answered or dropped, once. */
  dropped(connection: number, token: number): void;
};

type Session = {
  readonly connection: number;
  readonly number: number;
  readonly head: HeadId;
  readonly record: Record;
  readonly token: number;
  state: 'waiting' | 'keeping' | 'open';
  /** Of the last request. */
  sequence: number;
};

export class Replica {
  readonly id: ReplicaId;
  readonly #content: ReplicaContent;
  readonly #host: ReplicaHost;
  readonly #answer = new Answer();
  #state: ReplicaState;
  #session: Session | undefined;
  #grant: { readonly holder: HeadId; untilMs: number } | undefined;
  readonly #work = new WorkList<Session>();
  /** Set changes of the session that are not answered yet, oldest first; the first may be under way. */
  readonly #records: WorkBody[] = [];
  #recording = false;

  constructor(
    id: ReplicaId,
    { content, host }: { readonly content: ReplicaContent; readonly host: ReplicaHost },
  ) {
    this.id = id;
    this.#content = content;
    this.#host = host;
    this.#state = content.state;
    const holder = content.state.seen?.head;
    // What an earlier process granted is not known any more.
    if (holder !== undefined) this.#grant = { holder, untilMs: host.now() + GRANT_MS };
  }

  get state(): ReplicaState {
    return this.#state;
  }

  /** A request came over `connection`. */
  receive(connection: number, request: Request): void {
    if (request.kind === 'open') {
      this.#open(connection, request);
      return;
    }
    const session = this.#session;
    const isOurs = session?.connection === connection && session.number === request.session;
    if (!isOurs || session.state !== 'open' || request.sequence !== session.sequence + 1) {
      if (isOurs) this.#endSession();
      this.#host.dropped(connection, request.token);
      return;
    }
    session.sequence++;
    this.#serve(session, request);
  }

  /** Time has passed: called at least every 50 ms. */
  tick(): void {
    this.#advance();
  }

  /** The content has done what was asked under `token`. */
  onDone(token: number, errno: number): void {
    const work = this.#work.end(token);
    if (work?.session === undefined) return;
    if (work.kind === 'open') this.#opened(work, work.session, errno);
    else if (work.kind === 'record') this.#recorded(work, work.session, errno);
    else this.#reply(work, work.session, errno);
    this.#work.giveBack(work);
    this.#advance();
  }

  #open(connection: number, request: Request): void {
    const { record, head } = request;
    if (record === undefined || head === undefined) {
      this.#host.dropped(connection, request.token);
      return;
    }
    if (this.#refuses(record, head, request.session)) {
      const answer = this.#fresh('open', request);
      answer.errno = ESTALE;
      answer.record = this.#state.seen;
      this.#host.answer(connection, answer);
      return;
    }
    this.#endSession();
    this.#session = {
      connection,
      number: request.session,
      head,
      record,
      token: request.token,
      state: 'waiting',
      sequence: 0,
    };
    this.#advance();
  }

  /** What the content still has is dropped as it ends. */
  #endSession(): void {
    const session = this.#session;
    this.#session = undefined;
    this.#recording = false;
    if (session === undefined) return;
    const { connection } = session;
    if (session.state !== 'open') this.#host.dropped(connection, session.token);
    for (const { token } of this.#records.splice(0)) this.#host.dropped(connection, token);
  }

  #refuses(record: Record, head: HeadId, session: number): boolean {
    const newest = this.#newestShown();
    if (newest === undefined) return false;
    if (isNewer(record, newest)) return false;
    // Older, or of another head at the same epoch.
    if (!isSame(record, newest)) return true;
    const current = this.#session;
    return current !== undefined && isSameHead(current.head, head) && current.number >= session;
  }

  /** Of what is durable, and of the session that waits to be. */
  #newestShown(): Record | undefined {
    const seen = this.#state.seen;
    const shown = this.#session?.record;
    if (shown === undefined) return seen;
    return seen === undefined || isNewer(shown, seen) ? shown : seen;
  }

  /** Goes on with whatever waits for work to end, or for time. */
  #advance(): void {
    const session = this.#session;
    if (session === undefined) return;
    if (session.state === 'waiting') {
      if (this.#work.count > 0 || this.#isGrantedToAnother(session.head)) return;
      session.state = 'keeping';
      const { epoch } = session.record;
      const { own } = this.#work.begin(session, 'open', { token: session.token, epoch });
      this.#content.stamp(own, epoch);
    } else if (session.state === 'open') {
      this.#advanceRecords(session);
    }
  }

  /** A head of the same engine is a later one: the earlier is dead, or stopped before this one began. */
  #isGrantedToAnother(head: HeadId): boolean {
    const grant = this.#grant;
    return (
      grant !== undefined && grant.holder.engine !== head.engine && this.#host.now() < grant.untilMs
    );
  }

  #stateWith(record: Record): ReplicaState {
    const { lineage, epoch } = record;
    const seen = record;
    return { seen, base: record.members.has(this.id) ? { lineage, epoch } : this.#state.base };
  }

  /** One of the two steps of an opening is done: stamped, then kept. */
  #opened(work: WorkBody, session: Session, errno: number): void {
    if (errno !== 0) {
      if (this.#session === session) this.#endSession();
      return;
    }
    if (work.epoch !== KEPT) {
      if (this.#session !== session) return;
      const { own } = this.#work.begin(session, 'open', { token: work.token, epoch: KEPT });
      this.#content.keep(own, this.#stateWith(session.record));
      return;
    }
    this.#state = this.#stateWith(session.record);
    if (this.#session !== session) return;
    this.#grant = undefined;
    session.state = 'open';
    const answer = this.#fresh('open', { session: session.number, token: work.token });
    answer.base = this.#state.base;
    this.#host.answer(session.connection, answer);
  }

  #serve(session: Session, request: Request): void {
    switch (request.kind) {
      case 'read':
        this.#content.read(this.#work.begin(session, 'read', request).own, request);
        break;
      case 'flush':
        this.#content.flush(this.#work.begin(session, 'flush', request).own);
        break;
      case 'digest':
        this.#digest(session, request);
        break;
      case 'record': {
        const { token, epoch, record } = request;
        this.#records.push({ token, epoch, record });
        this.#advance();
        break;
      }
      case 'durable':
        this.#content.dropMarks(request.epoch, request.number);
        this.#host.dropped(session.connection, request.token);
        break;
      case 'renew':
        this.#grant = { holder: session.head, untilMs: this.#host.now() + GRANT_MS };
        this.#host.answer(session.connection, this.#fresh('renew', request));
        break;
      case 'release':
        this.#grant = undefined;
        this.#endSession();
        this.#host.answer(session.connection, this.#fresh('release', request));
        break;
      case 'marks': {
        const answer = this.#fresh('marks', request);
        answer.marks = this.#content.marks(request.number);
        this.#host.answer(session.connection, answer);
        break;
      }
      case 'survey': {
        const answer = this.#fresh('survey', request);
        answer.survey = this.#content.survey(request.number, extentsSurveyed(request));
        this.#host.answer(session.connection, answer);
        break;
      }
      default:
        this.#content.change(this.#work.begin(session, request.kind, request).own, request);
        break;
    }
  }

  #digest(session: Session, request: Request): void {
    const work = this.#work.begin(session, 'digest', request);
    this.#content.digest(work.own, request.number, (digest) => (work.digest = digest));
  }

  /** A set change takes effect once the changes of older epochs have ended: their extents are stamped with it too. */
  #advanceRecords(session: Session): void {
    const first = this.#records[0];
    if (first?.record === undefined || this.#recording) return;
    const { epoch } = first.record;
    if (this.#work.some((work) => isChange(work.kind) && work.epoch < epoch)) return;
    this.#recording = true;
    this.#content.stamp(this.#work.begin(session, 'record', first).own, epoch);
  }

  /** One of the two steps of a set change is done: stamped, then kept. */
  #recorded(work: Work<Session>, session: Session, errno: number): void {
    if (work.record === undefined) return;
    const isKept = work.epoch === KEPT;
    if (isKept && errno === 0) this.#state = this.#stateWith(work.record);
    if (this.#session !== session) return;
    if (errno !== 0) {
      this.#endSession();
      return;
    }
    if (!isKept) {
      const { record } = work;
      const kept = { token: work.token, epoch: KEPT, record };
      const { own } = this.#work.begin(session, 'record', kept);
      this.#content.keep(own, this.#stateWith(record));
      return;
    }
    this.#recording = false;
    this.#records.shift();
    this.#reply(work, session, 0);
  }

  #reply(work: Work<Session>, session: Session, errno: number): void {
    if (this.#session !== session) {
      this.#host.dropped(session.connection, work.token);
      return;
    }
    const answer = this.#fresh(work.kind, { session: session.number, token: work.token });
    answer.errno = errno;
    answer.digest = work.digest;
    this.#host.answer(session.connection, answer);
  }

  #fresh(
    kind: Request['kind'],
    { session, token }: { readonly session: number; readonly token: number },
  ): Answer {
    const answer = this.#answer;
    answer.kind = kind;
    answer.replica = this.id;
    answer.session = session;
    answer.token = token;
    answer.errno = 0;
    answer.life = this.#content.life;
    answer.record = undefined;
    answer.marks = NONE;
    answer.digest = undefined;
    answer.survey = NONE;
    answer.base = undefined;
    return answer;
  }
}

function extentsSurveyed({ lengthBytes }: Request): number {
  const asked = lengthBytes === 0 ? SURVEY_EXTENTS : Math.ceil(lengthBytes / EXTENT_BYTES);
  return Math.min(asked, SURVEY_EXTENTS);
}

/** In place of an epoch: the second step of an opening or a set change. */
const KEPT = -1;
