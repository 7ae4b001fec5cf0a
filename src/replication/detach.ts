/** The end of an attachment that its client asked for (docs/replication.md, "Detach"; F25). */

import type { Head } from './head.ts';
import type { MarkKeeper } from './mark-keeper.ts';
import { detached } from './record.ts';

/** Goes on with it if what it waits for is over: requests, a flush, set changes. */
export function advanceDetach(head: Head, marks: MarkKeeper): void {
  const { path, members, changer, host } = head;
  if (head.state !== 'detaching' || !path.isServing) return;
  if (path.operations.size > 0 || changer.pending !== undefined) return;
  if (!marks.isAllDurable) {
    path.flush(-1);
    return;
  }
  const seats = members.seatsOf(changer.known.members.keys());
  if ((seats & ~members.openSeats) !== 0) return;
  path.isServing = false;
  marks.tell();
  path.ask({
    kind: 'release',
    seats,
    onDone: () => {
      if (changer.pending !== undefined) return;
      head.transact(detached(changer.known, host.newWriter()), () => head.end('detached'));
    },
  });
}
