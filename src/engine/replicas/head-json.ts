/** What is told of heads, over engine.sock and in the log. */

import type { EventAbout } from '../../replication/head-host.ts';
import type { Head } from '../../replication/head.ts';
import { EXTENT_BYTES } from '../../replication/messages.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { formatUuid } from '../call-arguments.ts';

/** How it is, and its replicas. */
export function headJson(head: Head): JsonObject {
  const { state, stalled, changer, members, rebuilding, scrub, copier, repairs } = head;
  return {
    state,
    stalled: stalled ?? null,
    epoch: changer.known.epoch,
    sizeBytes: changer.known.sizeBytes,
    copies: {
      repaired: copier.repairedCount,
      differed: repairs.differedCount,
      unreadable: copier.unreadable.size,
    },
    scrub: scrub === undefined ? null : { offsetBytes: scrub.offsetBytes, isDone: scrub.isDone },
    replicas: members.all().map((member) => ({
      replica: formatUuid(member.replica),
      isInSync: changer.known.members.has(member.replica),
      isRebuilding: rebuilding.some(({ replica }) => replica === member.replica),
      isConnected: member.isOpen,
    })),
  };
}

/** Only what there is of it. */
export function aboutJson({ replica, extent }: EventAbout = {}): JsonObject {
  return {
    ...(replica === undefined ? {} : { replica: formatUuid(replica) }),
    ...(extent === undefined ? {} : { offsetBytes: extent * EXTENT_BYTES }),
  };
}
