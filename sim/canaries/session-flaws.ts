import { type Flaw, patch } from './flaw.ts';

/** Rebuild, sessions, grants, order, errors. */
export const SESSION_FLAWS: readonly Flaw[] = [
  {
    name: 'a delta without what the one that returns changed',
    patches: [
      patch(
        'missed-extents.ts',
        'const isSuspect = epoch === undefined || entry.stamp > epoch;',
        'const isSuspect = epoch === undefined;',
      ),
    ],
  },
  {
    name: 'a delta without trims',
    patches: [
      patch(
        'missed-extents.ts',
        'if (isSuspect || !known.has(entry.extent)) missed.add(entry.extent);',
        'if (isSuspect) missed.add(entry.extent);',
      ),
    ],
  },
  {
    name: 'a copy without a hold of its range',
    patches: [
      patch(
        'copier.ts',
        'hold = path.hold(range, (errno) => {',
        'hold = path.hold({ ...range, lengthBytes: 0 }, (errno) => {',
      ),
    ],
  },
  {
    name: 'a target misses what is changed while it is made equal',
    patches: [
      patch(
        'write-path.ts',
        'const seats = this.neededSeats | this.targetSeats;',
        'const seats = this.neededSeats;',
      ),
    ],
  },
  {
    name: 'the scan begins before earlier changes are over',
    patches: [
      patch(
        'rebuild.ts',
        'if (path.oldestNumber < this.#firstNumber || !this.#head.isRecorded) return;',
        'if (!this.#head.isRecorded) return;',
      ),
    ],
  },
  {
    name: 'no flush before a join',
    patches: [
      patch(
        'rebuild.ts',
        "    this.#phase = 'flushing';\n",
        "    this.#flushedSeats = -1;\n    this.#phase = 'flushed';\n    if (this.#phase === 'flushed') {\n      this.advance();\n      return;\n    }\n",
      ),
    ],
  },
  {
    name: 'a join does not wait for what was acknowledged without the target',
    patches: [
      patch(
        'rebuild.ts',
        "this.#phase === 'catching up' && path.hasTakenAll(this.#member.seat)",
        "this.#phase === 'catching up'",
      ),
    ],
  },
  {
    name: 'a session is opened with the I/O of the older one under way',
    patches: [
      patch(
        'replica.ts',
        'if (this.#work.count > 0 || this.#isGrantedToAnother(session.head)) return;',
        'if (this.#isGrantedToAnother(session.head)) return;',
      ),
    ],
  },
  {
    name: 'answers of another session count',
    patches: [
      patch(
        'head.ts',
        'if (member?.session !== answer.session) return;',
        'if (member === undefined) return;',
      ),
      patch(
        'replica.ts',
        '    if (this.#session !== session) {\n      this.#host.dropped(session.connection, work.token);\n      return;\n    }\n    const answer = this.#fresh(work.kind',
        '    const answer = this.#fresh(work.kind',
      ),
    ],
  },
  {
    name: 'an older record opens a session',
    patches: [patch('replica.ts', 'if (!isSame(record, newest)) return true;', '')],
  },
  {
    name: 'reads need no grant',
    patches: [
      patch('write-path.ts', 'now >= member.grantUntilMs) return false;', 'now < 0) return false;'),
    ],
  },
  {
    name: 'reads need the grants of all members but one',
    patches: [
      patch(
        'write-path.ts',
        '    const now = this.#host.now();\n    for (const member of this.#members) {\n      if ((member.seat & this.neededSeats) !== 0 && now >= member.grantUntilMs) return false;',
        '    const now = this.#host.now();\n    let missing = 0;\n    for (const member of this.#members) {\n      if ((member.seat & this.neededSeats) !== 0 && now >= member.grantUntilMs && ++missing > 1) return false;',
      ),
    ],
  },
  {
    name: 'a grant is timed from its answer',
    patches: [
      patch(
        'members.ts',
        'if (answer.token === member.renewToken) member.renewed();',
        'if (answer.token === member.renewToken) {\n        member.renewSentAtMs = this.#host.now();\n        member.renewed();\n      }',
      ),
    ],
  },
  {
    name: 'a new head is let in while another has a grant',
    patches: [patch('replica.ts', 'this.#host.now() < grant.untilMs', 'this.#host.now() < 0')],
  },
  {
    name: 'a grant is forgotten at a restart',
    patches: [
      patch(
        'replica.ts',
        'if (holder !== undefined) this.#grant = { holder, untilMs: host.now() + GRANT_MS };',
        'if (holder !== undefined) this.#grant = { holder, untilMs: 0 };',
      ),
    ],
  },
  {
    name: 'a read does not wait for an unfinished change',
    patches: [
      patch(
        'operations.ts',
        "(a.kind === 'read' && b.kind === 'read')",
        "a.kind === 'read' || b.kind === 'read'",
      ),
    ],
  },
  {
    name: 'overlapping changes are under way together',
    patches: [
      patch(
        'operations.ts',
        'return a.firstBlock < b.endBlock && b.firstBlock < a.endBlock;',
        'return a.firstBlock === b.firstBlock;',
      ),
    ],
  },
  {
    name: 'a replica that is being made equal is read',
    patches: [
      patch(
        'write-path.ts',
        'const usable = this.memberSeats & this.#members.openSeats',
        'const usable = (this.memberSeats | this.targetSeats) & this.#members.openSeats',
      ),
    ],
  },
  {
    name: 'no space on one member is ignored',
    patches: [
      patch(
        'write-path.ts',
        'const failed = operation.failedSeats & needed;',
        'const failed = (operation.tookSeats & needed) === 0 ? operation.failedSeats & needed : 0;',
      ),
    ],
  },
  {
    name: 'an error is replied while members differ',
    patches: [
      patch(
        'write-path.ts',
        'if (isAlone && operation.errno === ENOSPC) {',
        'if (operation.errno === ENOSPC) {',
      ),
    ],
  },
  {
    name: 'what is settled is not settled on targets',
    patches: [
      patch(
        'settle.ts',
        '(neededSeats | (operation.tookSeats & head.members.openSeats)) & ~source',
        'neededSeats & ~source',
      ),
    ],
  },
  {
    name: 'settling copies more than is held',
    patches: [
      patch(
        'settle.ts',
        'sizeBytes: changer.known.sizeBytes, only }',
        'sizeBytes: changer.known.sizeBytes }',
      ),
    ],
  },
  {
    name: 'a member that reconnects does not get its requests again',
    patches: [patch('head.ts', 'this.path.onOpened(member);', '')],
  },
  {
    name: 'a head goes on after another one was found',
    patches: [
      patch(
        'head.ts',
        "onOvertaken: () => this.end('overtaken'),",
        'onOvertaken: () => undefined,',
      ),
    ],
  },
  {
    name: 'a detach does not wait for requests under way',
    patches: [
      patch(
        'detach.ts',
        'if (path.operations.size > 0 || changer.pending !== undefined) return;',
        'if (changer.pending !== undefined) return;',
      ),
    ],
  },
  {
    name: 'a session may open at a record that is not the newest any more',
    patches: [
      patch(
        'head.ts',
        "answer.kind === 'open' && member.sentEpoch < this.changer.known.epoch",
        "answer.kind === 'open' && member.sentEpoch < 0",
      ),
    ],
  },
  {
    name: 'a rebuild goes up to a size that the target may not have yet',
    patches: [
      patch(
        'rebuild.ts',
        '{ sizeBytes: this.#sizeBytes, plan }',
        '{ sizeBytes: this.#head.changer.known.sizeBytes, plan }',
      ),
      patch(
        'rebuild.ts',
        'if (firstExtent * EXTENT_BYTES >= this.#sizeBytes) {',
        'if (firstExtent * EXTENT_BYTES >= this.#head.changer.known.sizeBytes) {',
      ),
    ],
  },
  {
    name: 'settling broke off, and what was taken before counts',
    patches: [
      patch(
        'settle.ts',
        'else head.reopen();\n    });',
        'else present.isSettling = false;\n    });',
      ),
    ],
  },
];
