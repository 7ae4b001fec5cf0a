/**
 * Why a volume is not as it should be: findings, each a chain from what its user sees down to the cause, with what ends it. Pure: the
 * facts come from `volume-facts.ts`.
 */

import type { MountEntry } from '../attacher/mount-table.ts';
import {
  type DriveRecord,
  type EventRecord,
  type OperationRecord,
  type VolumeRecord,
  isLost,
} from '../model/records.ts';
import { formatSize } from '../model/sizes.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { FULL_BYTES } from './conditions.ts';
import { replicaFindings } from './explain-replicas.ts';

/** Usage is looked at once a minute; what is older than three looks is stale. */
export const USAGE_STALE_MS = 180_000;

/** A process: it answers, or what came of asking it. */
export type PeerFacts = {
  readonly problem: string | undefined;
  /** Since when it does not answer. */
  readonly sinceMs: number | undefined;
  /** How the one before ended, in words. */
  readonly lastExit: string | undefined;
};

export type VolumeFacts = {
  readonly volume: VolumeRecord;
  readonly engine: PeerFacts;
  readonly attacher: PeerFacts;
  readonly isSupervised: boolean;
  readonly drive: DriveRecord | undefined;
  /** What the engine says; undefined where it knows none, or is away. */
  readonly driveStatus: JsonObject | undefined;
  readonly volumeStatus: JsonObject | undefined;
  /** What the attacher says of the block device. */
  readonly device: JsonObject | undefined;
  /** What is mounted where the volume should be. */
  readonly mounted: MountEntry | undefined;
  readonly running: OperationRecord | undefined;
  /** The last time that what is wanted of it could not be done. */
  readonly failure: EventRecord | undefined;
  /** When usage was last looked at with the engine's answer; before the first look, when control started. */
  readonly usageAtMs: number;
  readonly nowMs: number;
};

export type Finding = {
  readonly kind: string;
  /** From what is seen to its cause. */
  readonly chain: readonly string[];
  readonly sinceMs: number | undefined;
  /** What ends it. */
  readonly ends: string;
};

/** Everything that is not as it should be, what stops I/O first. Empty: all is well. */
export function explain(facts: VolumeFacts): Finding[] {
  const isOnDrive = facts.volume.replication === undefined;
  return [
    ...engineAway(facts),
    ...(isOnDrive ? [...driveFindings(facts), ...lost(facts)] : replicaFindings(facts)),
    ...deviceFindings(facts),
    ...mountFindings(facts),
    ...waiting(facts),
    ...(isOnDrive ? badBlocks(facts) : []),
    ...changing(facts),
    ...attacherAway(facts),
    ...supervision(facts),
    ...stale(facts),
  ];
}

function finding(
  kind: string,
  chain: readonly (string | undefined)[],
  rest: { readonly sinceMs?: number | undefined; readonly ends: string },
): Finding[] {
  const known = chain.filter((each) => each !== undefined && each !== '') as string[];
  return [{ kind, chain: known, sinceMs: rest.sinceMs, ends: rest.ends }];
}

const UP = 'holdfast up starts what is dead';

function engineAway({ volume, engine, isSupervised }: VolumeFacts): Finding[] {
  if (engine.problem === undefined) return [];
  const seen =
    volume.attachment === undefined
      ? `Volume "${volume.name}" cannot be attached, and how much space it takes is not known`
      : `All I/O of volume "${volume.name}" waits; nothing of it fails or is lost`;
  const chain = [seen, `the engine does not answer: ${engine.problem}`, engine.lastExit];
  const ends = isSupervised ? 'The supervisor starts it again, within 5 s' : UP;
  return finding('engine.away', chain, { sinceMs: engine.sinceMs, ends });
}

function driveFindings({ volume, engine, drive, driveStatus }: VolumeFacts): Finding[] {
  if (engine.problem !== undefined) return [];
  const { name } = volume;
  const at = `"${volume.drive}" (${drive?.path ?? 'not on record'})`;
  if (driveStatus === undefined) {
    return finding(
      'drive.not_open',
      [`Volume "${name}" cannot be used`, `its drive ${at} is not open`],
      {
        ends: 'holdfast drive ls tells its state; holdfast drive check tells what is wrong with it',
      },
    );
  }
  const reason = typeof driveStatus['reason'] === 'string' ? driveStatus['reason'] : undefined;
  const free = Number(driveStatus['freeBytes'] ?? Infinity);
  switch (driveStatus['state']) {
    case 'open':
      if (free >= FULL_BYTES) return [];
      return finding(
        'drive.full',
        [
          `Writes of volume "${name}" to places that were never written end in ENOSPC`,
          `its drive ${at} has ${formatSize(free)} free`,
        ],
        {
          ends: `Remove volumes, empty the trash, trim file systems, or make it larger (holdfast drive grow ${volume.drive} --size SIZE)`,
        },
      );
    case 'read-only':
      return finding(
        'drive.read_only',
        [
          `Volume "${name}" can be read and takes no writes`,
          `its drive ${at} is read-only`,
          reason,
        ],
        { ends: 'holdfast drive check --repair of the drive, after holdfast down' },
      );
    default: {
      // One that was never opened says nothing of its size.
      const wasOpen = driveStatus['sizeBytes'] !== undefined;
      const seen = wasOpen
        ? `Volume "${name}" takes no more writes or flushes; what was flushed is on the drive`
        : `Volume "${name}" cannot be used`;
      const ends = wasOpen
        ? 'holdfast down and up open the drive again, if it is sound; holdfast drive check tells'
        : 'Put the drive back where it was, then holdfast down and up; holdfast drive check tells what is wrong with it';
      return finding('drive.faulted', [seen, `its drive ${at} is faulted`, reason], { ends });
    }
  }
}

/** The drive is open and does not have the volume, or has it and does not serve it. */
function lost({ volume, engine, driveStatus, volumeStatus }: VolumeFacts): Finding[] {
  if (engine.problem !== undefined || volume.state !== 'ready') return [];
  if (driveStatus?.['state'] !== 'open') return [];
  if (volumeStatus === undefined) {
    return finding(
      'volume.lost',
      [`Volume "${volume.name}" cannot be used`, `its drive "${volume.drive}" no longer holds it`],
      { ends: 'Nothing brings it back; holdfast volume rm removes its record' },
    );
  }
  if (volume.attachment?.state !== 'attached' || volumeStatus['state'] === 'attached') return [];
  return finding(
    'volume.not_served',
    [
      `All I/O of volume "${volume.name}" waits`,
      'the engine does not serve it, though it is attached: DIR/log/engine.log tells why',
    ],
    { ends: 'holdfast volume detach and attach' },
  );
}

function deviceFindings({ volume, engine, attacher, device }: VolumeFacts): Finding[] {
  const { name, attachment } = volume;
  if (attachment?.state !== 'attached' || attachment.wanted !== 'device') return [];
  if (attacher.problem !== undefined) return [];
  const at = attachment.device ?? 'its block device';
  if (device === undefined) {
    return finding(
      'device.lost',
      [`I/O on ${at} of volume "${name}" fails`, 'the attacher that made it ended'],
      { ends: 'Control attaches it again by itself, checks its file system and mounts it' },
    );
  }
  const problem = String(device['problem'] ?? '');
  if (device['state'] === 'ended') {
    return finding('device.ended', [`I/O on ${at} of volume "${name}" fails for good`, problem], {
      ends: 'holdfast volume unmount (or detach), then mount (or attach)',
    });
  }
  if (device['state'] === 'waiting' && engine.problem === undefined) {
    return finding('device.waiting', [`I/O on ${at} of volume "${name}" waits`, problem], {
      ends: 'The attacher tries again, several times a second, until the engine serves the volume',
    });
  }
  return [];
}

function mountFindings({ volume, mounted }: VolumeFacts): Finding[] {
  const { name, mount, attachment } = volume;
  if (mount?.state !== 'mounted') return [];
  if (mounted === undefined || mounted.source !== attachment?.device) {
    return finding(
      'mount.lost',
      [
        `Volume "${name}" is not mounted at ${mount.path}, where it should be`,
        mounted === undefined ? 'somebody unmounted it' : `${mounted.source} is mounted over it`,
      ],
      { ends: 'holdfast volume unmount, then mount' },
    );
  }
  if (mounted.isReadOnly) {
    return finding(
      'mount.read_only',
      [
        `The file system of volume "${name}" at ${mount.path} takes no writes`,
        'the kernel made it read-only after an error: its log (dmesg) tells which',
      ],
      { ends: 'holdfast volume unmount, then mount, which checks the file system' },
    );
  }
  if (mount.growsAtNextMount !== true) return [];
  return finding(
    'mount.grows_later',
    [
      `The file system of volume "${name}" is smaller than the volume`,
      'the kernel grows a mounted ext4 only for those who have CAP_SYS_RESOURCE, which Holdfast lacks here',
    ],
    { ends: 'The next mount grows it: holdfast volume unmount, then mount' },
  );
}

function badBlocks({ volume, driveStatus, volumeStatus }: VolumeFacts): Finding[] {
  const list = (driveStatus?.['badBlocks'] ?? []) as readonly JsonObject[];
  const path = String(driveStatus?.['path'] ?? volume.drive);
  const ends = `holdfast drive check "${path}" --data-blocks tells which (after holdfast down); a block that is written anew is well again`;
  const found = list.flatMap((bad) => {
    const isOwn = bad['of'] === volume.id;
    if (!isOwn && bad['of'] !== 'metadata') return [];
    const sums = Number(bad['checksumErrors']);
    const reads = Number(bad['readErrors']);
    const last = `the last at byte ${String(bad['offsetBytes'])}`;
    const seen = isOwn
      ? `Some reads of volume "${volume.name}" end in EIO`
      : `Some reads of volume "${volume.name}" may end in EIO`;
    const where = isOwn ? 'blocks' : 'pages of metadata';
    return [
      ...(sums === 0
        ? []
        : finding(
            'volume.checksum_errors',
            [
              seen,
              `drive "${volume.drive}" gave ${sums} ${where} with other bytes than were written, ${last}`,
            ],
            { ends },
          )),
      ...(reads === 0
        ? []
        : finding(
            'volume.read_errors',
            [seen, `drive "${volume.drive}" refused ${reads} reads of ${where}, ${last}`],
            { ends },
          )),
    ];
  });
  const errors = Number(volumeStatus?.['errors'] ?? 0);
  if (errors === 0 || found.length > 0) return found;
  return finding(
    'volume.io_errors',
    [
      `${errors} requests of the clients of volume "${volume.name}" ended in an error since the engine started`,
      'the drive had no room for them, or refused them',
    ],
    {
      ends: 'The count begins anew with the engine; holdfast events tells what happened to the drive',
    },
  );
}

/** What was there and could not be put back. */
function waiting({ volume, running, failure }: VolumeFacts): Finding[] {
  const { name, mount } = volume;
  if (running !== undefined || !isLost(volume)) return [];
  const [seen, again, end] =
    mount === undefined
      ? ['attached as a block device', 'attach', 'detach']
      : [`mounted at ${mount.path}`, 'mount', 'unmount'];
  return finding(
    'volume.not_restored',
    [`Volume "${name}" is not ${seen}, as it was`, failure?.cause],
    {
      sinceMs: failure?.atMs,
      ends: `What stands in its way: it is tried every half minute, and at once by holdfast volume ${again} ${name}. holdfast volume ${end} ${name} gives it up`,
    },
  );
}

/** What is wanted and not there yet. */
function changing({ volume, running, failure }: VolumeFacts): Finding[] {
  const { name, state, attachment, mount, resizeToBytes } = volume;
  if (running === undefined && isLost(volume)) return [];
  const step =
    state !== 'ready'
      ? state
      : attachment !== undefined && attachment.state !== 'attached'
        ? attachment.state
        : mount !== undefined && mount.state !== 'mounted'
          ? mount.state
          : resizeToBytes !== undefined
            ? `growing to ${formatSize(resizeToBytes)}`
            : undefined;
  if (step === undefined && running === undefined) return [];
  const operation =
    running === undefined ? undefined : `operation ${running.kind} (${running.id}) is under way`;
  return finding(
    'operation.running',
    [`Volume "${name}" is ${step ?? 'being changed'}`, operation, failure?.cause],
    {
      sinceMs: running?.startedAtMs,
      ends: 'It ends by itself; while engine or attacher is away it is tried again every second',
    },
  );
}

function attacherAway({ volume, attacher, isSupervised }: VolumeFacts): Finding[] {
  if (attacher.problem === undefined) return [];
  const isDevice = volume.attachment?.wanted === 'device';
  const seen = isDevice
    ? `The block device of volume "${volume.name}" may fail its I/O`
    : `Volume "${volume.name}" cannot be attached as a block device or mounted`;
  const chain = [seen, `the attacher does not answer: ${attacher.problem}`, attacher.lastExit];
  const ends = isSupervised
    ? 'The supervisor starts it again, within 5 s; volumes are then attached and mounted again'
    : UP;
  return finding('attacher.away', chain, { sinceMs: attacher.sinceMs, ends });
}

function supervision({ volume, isSupervised }: VolumeFacts): Finding[] {
  if (isSupervised) return [];
  return finding(
    'supervisor.dead',
    [
      `What serves volume "${volume.name}" is not started again if it dies`,
      'nobody supervises: the supervisor is dead',
    ],
    { ends: 'holdfast up takes over, and what is mounted stays' },
  );
}

function stale({ volume, usageAtMs, nowMs }: VolumeFacts): Finding[] {
  if (nowMs - usageAtMs < USAGE_STALE_MS) return [];
  return finding(
    'usage.stale',
    [
      `When volume "${volume.name}" was last written, and its high water, may be more than is shown`,
      'the engine did not answer, or the records took nothing, when the use of volumes was looked at',
    ],
    { sinceMs: usageAtMs, ends: 'The next look with an engine that answers, once a minute' },
  );
}
