import { type Flaw, patch } from './flaw.ts';

/** Bad blocks, scrubs, stalls given up, accepted losses. */
export const CARE_FLAWS: readonly Flaw[] = [
  {
    name: 'a copy that cannot be read is not made equal',
    patches: [
      patch(
        'copier.ts',
        'else if (digest === undefined) unreadable |= seat;',
        'else if (digest === undefined) continue;',
      ),
    ],
  },
  {
    name: 'a bad block is an error though another member has it',
    patches: [
      patch(
        'write-path.ts',
        'operation.isSettling = true;\n      this.#host.onUnreadable(operation);',
        'this.#end(operation, EIO);',
      ),
    ],
  },
  {
    name: 'a repair overwrites what is newer',
    patches: [
      patch(
        'repairs.ts',
        'copier.equaliseHeld(extent, { sizeBytes, plan }, onDone);',
        'copier.equalise([extent], { ...plan(), sizeBytes }, onDone);',
      ),
    ],
  },
  {
    name: 'a member that is not intact stands in for a source that cannot be read',
    patches: [
      patch(
        'opening.ts',
        'this.#sources = this.#inOrder(candidates);',
        'this.#sources = [...this.#inOrder(candidates), ...this.#inOrder(reached)];',
      ),
    ],
  },
  {
    name: 'a stall is given up, and the session goes on',
    patches: [
      patch(
        'stalls.ts',
        'this.#head.giveUp();',
        'for (const operation of path.operations.all()) if (operation.token >= 0) path.settled(operation, 110);',
      ),
    ],
  },
  {
    name: 'a loss is accepted, and all stay members',
    patches: [
      patch(
        'record.ts',
        'members: new Map([[replica, life]])',
        'members: new Map([...record.members, [replica, life]])',
      ),
    ],
  },
  {
    name: 'what a replica held in another lineage counts',
    patches: [
      patch(
        'missed-extents.ts',
        'base?.lineage === lineage ? base.epoch : undefined',
        'lineage > 0 ? base?.epoch : undefined',
      ),
    ],
  },
  {
    name: 'a replica that the set change under way adds is forgotten',
    patches: [
      patch(
        'head.ts',
        'known.members.has(replica) || pending?.members.has(replica);',
        'known.members.has(replica);',
      ),
    ],
  },
  {
    name: 'a member that is back gets again what others are being made equal to',
    patches: [
      patch(
        'write-path.ts',
        "if (!started || isSettling || question !== undefined || kind === 'hold') continue;",
        "if (!started || question !== undefined || kind === 'hold') continue;",
      ),
    ],
  },
  {
    name: 'marks go when all took a change, without a flush',
    patches: [
      patch(
        'mark-keeper.ts',
        '    const changes = path.nextNumber - this.#durableNumber;',
        '    if (path.isServing) {\n      this.#durableNumber = Math.max(this.#durableNumber, path.oldestNumber);\n      this.#untoldSeats = path.memberSeats;\n    }\n    const changes = path.nextNumber - this.#durableNumber;',
      ),
    ],
  },
  {
    name: 'a head is let in by the replica beside it, whatever that was shown',
    patches: [
      patch(
        'replica.ts',
        'if (isNewer(record, newest)) return false;',
        'if (isNewer(record, newest) || head.engine.slice(1) === this.id.slice(1)) return false;',
      ),
    ],
  },
];
