/**
 * The canaries of replication: those of ../shared/replication-traps.md, section 3, that the protocol has a place for, and faults that
 * the simulator found in its first versions.
 */

import type { Canary, Patch } from './canary.ts';

const patch = (file: string, find: string, replace: string): Patch => ({
  file: `src/replication/${file}`,
  find,
  replace,
});

const inSimulator = (file: string, find: string, replace: string): Patch => ({
  file: `sim/replication/${file}`,
  find,
  replace,
});

type Flaw = { readonly name: string; readonly patches: readonly Patch[] };

const FLAWS: readonly Flaw[] = [
  {
    name: 'acknowledged before the last member took it',
    patches: [
      patch(
        'write-path.ts',
        'if ((needed & ~answered) !== 0) return;',
        'const missing = needed & ~answered;\n      if ((missing & (missing - 1)) !== 0) return;',
      ),
    ],
  },
  {
    name: 'a shrink counts when it is submitted',
    patches: [
      patch(
        'head.ts',
        'if (pending !== undefined) seats |= this.members.seatsOf(pending.members.keys());',
        'if (pending !== undefined) seats = this.members.seatsOf(pending.members.keys());',
      ),
    ],
  },
  {
    name: 'an unknown outcome is taken for a commit',
    patches: [
      patch(
        'set-changer.ts',
        "if (outcome.kind === 'unknown') {",
        "if (outcome.kind === 'unknown') {\n      this.pending = undefined;\n      this.known = pending;\n      this.#host.onCommitted(pending);\n      return;\n    }\n    if (outcome.kind === 'unknown') {",
      ),
    ],
  },
  {
    name: 'an unknown outcome is taken for a failure',
    patches: [
      patch(
        'set-changer.ts',
        "if (outcome.kind === 'unknown') {",
        "if (outcome.kind === 'unknown') {\n      this.pending = undefined;\n      return;\n    }\n    if (outcome.kind === 'unknown') {",
      ),
    ],
  },
  {
    name: 'a transaction is built anew on a record of another head',
    patches: [
      patch(
        'set-changer.ts',
        'this.#host.onOvertaken(outcome.record);',
        'if (outcome.record === undefined) return;\n      this.known = outcome.record;\n      this.submit({ ...pending, epoch: outcome.record.epoch + 1 });',
      ),
    ],
  },
  {
    name: 'members hear of a set change before the store has it',
    patches: [
      patch(
        'head.ts',
        'this.changer.submit(next);',
        'this.changer.submit(next);\n    if (this.path.isServing) this.members.tell(next, -1);',
      ),
    ],
  },
  {
    name: 'acknowledged before the new members have the record',
    patches: [patch('head.ts', 'this.#earlier.add(replica);', 'this.#earlier.delete(replica);')],
  },
  {
    name: 'a loss of power is not noticed',
    patches: [
      inSimulator(
        'sim-media.ts',
        'this.taken.copyFrom(this.durable);\n    this.life++;',
        'this.taken.copyFrom(this.durable);',
      ),
    ],
  },
  {
    name: 'a member is back in another life and stays',
    patches: [
      patch('head.ts', 'if (registered === member.life) {', 'if (registered !== undefined) {'),
    ],
  },
  {
    name: 'lives are registered before the members are equal',
    patches: [
      patch(
        'opening.ts',
        'withMembers(known, replicas, { writer: head.host.newWriter() })',
        'withMembers(known, replicas, { writer: head.host.newWriter(), lives: new Map(reached.map((member) => [member.replica, member.life])) })',
      ),
    ],
  },
  {
    name: 'the source is the first that is reached',
    patches: [
      patch(
        'opening.ts',
        'const candidates = intact.length > 0 ? intact : reached;',
        'const candidates = reached;',
      ),
    ],
  },
  {
    name: 'only marks of the source are made equal',
    patches: [
      patch(
        'opening.ts',
        'onAnswer: (_member, { marks }) => {',
        'onAnswer: (member, { marks }) => {\n        if (member !== this.#source) return;',
      ),
    ],
  },
  {
    name: 'nothing is made equal at a takeover',
    patches: [patch('opening.ts', 'this.#equalise([...extents])', 'this.#equalise([])')],
  },
  {
    name: 'no flush after the members were made equal',
    patches: [
      patch('opening.ts', 'this.#then(() => this.#flush())', 'this.#then(() => this.#register())'),
    ],
  },
  {
    name: 'a takeover serves with fewer than the minimum',
    patches: [
      patch('opening.ts', 'if (reached.length < known.minimum) {', 'if (reached.length < 1) {'),
      patch('record.ts', "assert(set.size >= record.minimum, 'S keeps its minimum');", ''),
    ],
  },
  {
    name: 'the session goes on though its writes may be lost',
    patches: [
      patch(
        'opening.ts',
        'if (intact.length === 0 && head.clientLives) {',
        'if (intact.length < 0) {',
      ),
    ],
  },
  {
    name: 'marks go after the own flush of a member',
    patches: [
      patch(
        'replica.ts',
        "else if (work.kind === 'record') this.#recorded(work, errno);",
        "else if (work.kind === 'record') this.#recorded(work, errno);\n    else if (work.kind === 'flush') {\n      this.#content.dropMarks(Infinity, 0);\n      this.#reply(work, errno);\n    }",
      ),
    ],
  },
  {
    name: 'marks of changes after the flush go with it',
    patches: [
      patch(
        'mark-keeper.ts',
        'this.#tell(flush.number);',
        'this.#tell(this.#head.path.nextNumber);',
      ),
    ],
  },
  {
    name: 'a trim leaves no mark',
    patches: [
      inSimulator(
        'sim-media.ts',
        'const before = this.marks.get(piece.extent);',
        'if (piece.values.every((value) => value === 0)) return;\n    const before = this.marks.get(piece.extent);',
      ),
    ],
  },
  {
    name: 'a copy leaves no mark',
    patches: [
      inSimulator(
        'sim-media.ts',
        'const before = this.marks.get(piece.extent);',
        'if (piece.stamp !== piece.epoch) return;\n    const before = this.marks.get(piece.extent);',
      ),
    ],
  },
  {
    name: 'marks are lost with the power',
    patches: [
      inSimulator(
        'sim-media.ts',
        'this.taken.copyFrom(this.durable);\n    this.life++;',
        'this.durable.marks.clear();\n    this.taken.copyFrom(this.durable);\n    this.life++;',
      ),
    ],
  },
  {
    name: 'a set change stamps no marked extents',
    patches: [
      patch(
        'replica.ts',
        'this.#content.stamp(token, first.record.epoch);',
        'this.#content.stamp(token, 0);',
      ),
    ],
  },
  {
    name: 'a set change does not wait for changes under way',
    patches: [
      patch(
        'replica.ts',
        'if (isChange(work.kind) && work.epoch < first.record.epoch) return;',
        'if (isChange(work.kind) && work.epoch < 0) return;',
      ),
    ],
  },
  {
    name: 'an opening stamps no marked extents',
    patches: [
      patch('replica.ts', 'this.#content.stamp(token, epoch);', 'this.#content.stamp(token, 0);'),
    ],
  },
  {
    name: 'a delta without the marks of the one that returns',
    patches: [
      patch(
        'rebuild.ts',
        'epoch === undefined || entry.isMarked || entry.stamp > epoch;',
        'epoch === undefined || entry.stamp > epoch;',
      ),
    ],
  },
  {
    name: 'a delta without trims',
    patches: [
      patch(
        'rebuild.ts',
        'if (isSuspect || !known.has(entry.extent)) missed.add(entry.extent);',
        'if (isSuspect) missed.add(entry.extent);',
      ),
    ],
  },
  {
    name: 'a copy without a hold of its range',
    patches: [
      patch(
        'rebuild.ts',
        'const hold = path.hold(range, (errno) => {',
        'const hold = path.hold({ ...range, lengthBytes: 0 }, (errno) => {',
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
        "this.#phase === 'settling' && path.oldestNumber >= this.#firstNumber",
        "this.#phase === 'settling'",
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
        'if (this.#work.size > 0 || this.#isGrantedToAnother(session.head)) return;',
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
        '    const { session } = work;\n    if (this.#session !== session) return;\n    const answer = this.#fresh(work.kind',
        '    const { session } = work;\n    const answer = this.#fresh(work.kind',
      ),
    ],
  },
  {
    name: 'an older record opens a session',
    patches: [patch('replica.ts', 'if (isNewer(newest, record)) return true;', '')],
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
        'if (isOnlyMember && operation.errno === ENOSPC) {',
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
];

export const REPLICATION_CANARIES: readonly Canary[] = FLAWS.map((flaw, index) => ({
  number: 101 + index,
  focus: 'replication',
  ...flaw,
}));
