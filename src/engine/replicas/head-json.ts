/** What is told of heads, over engine.sock and in the log. */

import type { EventAbout } from '../../replication/head-host.ts';
import type { Head } from '../../replication/head.ts';
import { EXTENT_BYTES } from '../../replication/messages.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import { formatUuid } from '../../model/ids.ts';
import type { Attachment } from '../nbd/attachment.ts';
import type { ReplicatedVolume } from './replicated-volume.ts';

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
export function aboutJson({ replica, extent, cause }: EventAbout = {}): JsonObject {
  return {
    ...(cause === undefined ? {} : { cause }),
    ...(replica === undefined ? {} : { replica: formatUuid(replica) }),
    ...(extent === undefined ? {} : { offsetBytes: extent * EXTENT_BYTES }),
  };
}

/** As `volume.status` has it. Counts are those since the head began, `allocatedBytes` that of the replica beside it. */
export function volumeJson(
  uuid: string,
  {
    volume,
    attachId,
    attachment,
    startedMs,
    allocatedBytes,
  }: {
    readonly volume: ReplicatedVolume;
    readonly attachId: string;
    readonly attachment: Attachment;
    readonly startedMs: number;
    readonly allocatedBytes: number | undefined;
  },
): JsonObject {
  const { stalled, changer } = volume.head;
  const { meter, socketPath, connections } = attachment;
  return {
    uuid: formatUuid(uuid),
    sizeBytes: changer.known.sizeBytes,
    allocatedBytes,
    epoch: changer.known.epoch,
    attachId,
    socketPath,
    connections: connections.size,
    changes: meter.changeCount,
    errors: meter.errorCount,
    countedSinceMs: startedMs,
    state: 'attached',
    reason: stalled,
  };
}
