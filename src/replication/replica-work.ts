/** The requests that the content of a replica has, by the content's name for each: objects that are used again. */

import type { Digest, RequestKind } from './messages.ts';
import type { Record } from './record.ts';

/** A request from its beginning until the content has done it. */
export class Work<Session> {
  /** The content's name for it. */
  readonly own: number;
  /** In which it was asked. Undefined: there is no such request now. */
  session: Session | undefined;
  kind: RequestKind = 'read';
  /** The head's name for it. */
  token = 0;
  epoch = 0;
  record: Record | undefined;
  digest: Digest | undefined;

  constructor(own: number) {
    this.own = own;
  }
}

/** What a request is kept with. */
export type WorkBody = {
  readonly token: number;
  readonly epoch: number;
  readonly record?: Record | undefined;
};

/** All that is under way. */
export class WorkList<Session> {
  readonly #all: Work<Session>[] = [];
  readonly #free: Work<Session>[] = [];
  /** Begun and not ended. */
  count = 0;

  begin(session: Session, kind: RequestKind, { token, epoch, record }: WorkBody): Work<Session> {
    const work = this.#free.pop() ?? this.#add();
    work.session = session;
    work.kind = kind;
    work.token = token;
    work.epoch = epoch;
    work.record = record;
    work.digest = undefined;
    this.count++;
    return work;
  }

  #add(): Work<Session> {
    const work = new Work<Session>(this.#all.length);
    this.#all.push(work);
    return work;
  }

  /** The content has done it: it is the caller's until {@link giveBack}. */
  end(own: number): Work<Session> | undefined {
    const work = this.#all[own];
    if (work?.session === undefined) return undefined;
    this.count--;
    return work;
  }

  giveBack(work: Work<Session>): void {
    work.session = undefined;
    this.#free.push(work);
  }

  /** Whether one of these is under way. */
  some(isSo: (work: Work<Session>) => boolean): boolean {
    return this.count > 0 && this.#all.some((work) => work.session !== undefined && isSo(work));
  }
}
