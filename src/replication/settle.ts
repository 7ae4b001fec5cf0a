/** What becomes of a change that members failed where others did not, or that all failed (docs/replication.md, "The write path", 5; F15). */

import { ENOSPC } from '../model/errno.ts';
import type { Head } from './head.ts';
import { seatsIn } from './member.ts';
import { extentsOf } from './messages.ts';
import type { Operation } from './operations.ts';
import { fewest } from './record.ts';

/** The members in `failedSeats` leave S if enough are left; else the range is made as it is on one of them, and the error is true of all. */
export function settle(head: Head, operation: Operation, failedSeats: number): void {
  const { path, changer, copier } = head;
  const { neededSeats } = path;
  const { id, errno } = operation;
  const rest = head.members.all().filter(({ seat }) => (seat & neededSeats & ~failedSeats) !== 0);
  if (rest.length > 0 && rest.length >= fewest(changer.known)) {
    const failed = head.members.all().filter(({ seat }) => (seat & failedSeats) !== 0);
    // Every request under way finds it so, until it has left.
    if (failed.some((member) => !member.failed)) head.host.onEvent('failed member leaves');
    for (const member of failed) {
      member.failed = true;
      member.lossCause = errno === ENOSPC ? 'drive full' : 'drive error';
    }
    operation.isSettling = false;
    head.review();
  } else if (errno === ENOSPC && operation.isChange) {
    head.host.onEvent('refusal copied to all');
    const sources = seatsIn(failedSeats);
    const others = (neededSeats | (operation.tookSeats & head.members.openSeats)) & ~sources[0]!;
    const only = { offsetBytes: operation.offsetBytes, lengthBytes: operation.lengthBytes };
    const plan = { sources, seats: others, sizeBytes: changer.known.sizeBytes, only };
    copier.equalise(extentsOf(operation), plan, (failure) => {
      const present = path.operations.find(id);
      if (present?.isSettling !== true) return;
      if (failure === 0) path.settled(present, errno);
      // Some of those that took it may have lost it to a copy, and copies may be under way.
      else head.reopen();
    });
  } else {
    // A drive that fails has a new life, or none: that is for a new opening to find out.
    head.reopen();
  }
}
