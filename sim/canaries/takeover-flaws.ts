import { type Flaw, inSimulator, patch } from './flaw.ts';

/** Acknowledgements, set changes, takeover, marks. */
export const TAKEOVER_FLAWS: readonly Flaw[] = [
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
        'onAnswer: (member, { marks }) => {\n        if (member.seat !== this.#sources[0]) return;',
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
      patch('opening.ts', 'if (reached.length < least) {', 'if (reached.length < 1) {'),
      patch('record.ts', "assert(set.size >= fewest(record), 'S keeps its minimum');", ''),
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
        "else if (work.kind === 'record') this.#recorded(work, work.session, errno);",
        "else if (work.kind === 'record') this.#recorded(work, work.session, errno);\n    else if (work.kind === 'flush') {\n      this.#content.dropMarks(Infinity, 0);\n      this.#reply(work, work.session, errno);\n    }",
      ),
    ],
  },
  {
    name: 'marks of changes after the flush go with it',
    patches: [
      patch(
        'mark-keeper.ts',
        'this.#durableNumber = number;',
        'this.#durableNumber = this.#head.path.nextNumber;',
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
      // A half more than its stamp, which is cut off where it is kept, tells a copy from other changes.
      inSimulator(
        'sim-content.ts',
        "const stamp = request.kind === 'copy' ? request.stamp : epoch;",
        "const stamp = request.kind === 'copy' ? request.stamp + 0.5 : epoch;",
      ),
      inSimulator(
        'sim-media.ts',
        'const before = this.marks.get(piece.extent);',
        'if (piece.stamp % 1 !== 0) return;\n    const before = this.marks.get(piece.extent);',
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
        "this.#content.stamp(this.#work.begin(session, 'record', first).own, epoch);",
        "this.#content.stamp(this.#work.begin(session, 'record', first).own, 0);",
      ),
    ],
  },
  {
    name: 'a set change does not wait for changes under way',
    patches: [
      patch(
        'replica.ts',
        'if (this.#work.some((work) => isChange(work.kind) && work.epoch < epoch)) return;',
        'if (this.#work.some((work) => isChange(work.kind) && work.epoch < 0)) return;',
      ),
    ],
  },
  {
    name: 'an opening stamps no marked extents',
    patches: [
      patch('replica.ts', 'this.#content.stamp(own, epoch);', 'this.#content.stamp(own, 0);'),
    ],
  },
];
