/** What can go wrong with drives: a part of the table of errors.ts. */

import { type ErrorRow, row } from './error-row.ts';

export const DRIVE = {
  DRIVE_NOT_FOUND: row(404, 'never', 'There is no drive "{drive}"{hint}'),
  DRIVE_EXISTS: row(
    409,
    'never',
    'Cannot add drive "{drive}": there is one of that name with {difference}',
  ),
  DRIVE_PATH_USED: row(409, 'never', 'Cannot add drive "{drive}": "{path}" is drive "{holder}"'),
  DRIVE_ON_VOLUME: row(
    409,
    'never',
    'Cannot use "{path}" as a drive: it lies on a volume of Holdfast ({device}), whose I/O would wait for its own',
    { wayOut: 'Name a path on a disk of the machine' },
  ),
  DRIVE_IN_USE: row(409, 'later', 'Cannot remove drive "{drive}": it holds volume {volumes}', {
    wayOut:
      'Have replicas leave (holdfast drive drain {drive}); remove volumes that lie on it alone (holdfast volume rm NAME --now; holdfast trash empty)',
  }),
  DRIVE_NOT_READY: row(409, 'later', 'Cannot use drive "{drive}": it is {state}'),
  DRIVE_BUSY: row(409, 'later', 'Cannot open "{path}": a process holds it, or the file below it'),
  DRIVE_SIGNATURE: row(409, 'never', 'Cannot format "{path}": it holds {found}', {
    wayOut: '--force formats it and destroys what it holds',
  }),
  DRIVE_NO_DIRECT_IO: row(409, 'never', 'Cannot use "{path}": its file system has no direct I/O', {
    wayOut: 'Put the drive on ext4, xfs or btrfs, or give a whole block device',
  }),
  DRIVE_TOO_SMALL: row(
    409,
    'never',
    'Cannot use "{path}": {size} is less than the {minimum} that a drive needs',
  ),
  DRIVE_NOT_GROWN: row(409, 'later', 'Cannot grow drive "{drive}" to {wanted}: {problem}'),
  DRIVE_PROMISED: row(
    409,
    'later',
    'Cannot give volume "{volume}" {wanted}: the volumes of drive "{drive}", and those of it in the trash, would have {promised} together, more than {percent} % of its {size}',
    {
      wayOut:
        'Add a drive (holdfast drive add NAME), remove volumes for good (holdfast volume rm NAME --now; holdfast trash empty), or raise the limit (holdfast settings set overprovision=PERCENT)',
    },
  ),
  DRIVE_FULL: row(507, 'later', 'Cannot place {size}: drive "{drive}" has {free} free', {
    wayOut: 'Add a drive, make this one larger (holdfast drive grow NAME) or remove volumes',
  }),
  DRIVE_TABLE_FULL: row(
    507,
    'later',
    'Cannot create another volume or snapshot: drive "{drive}" holds {recordCount} volumes and snapshots, which is all that it was made for',
    {
      wayOut: 'Delete volumes or snapshots, or add a drive (holdfast drive add NAME)',
    },
  ),
  DRIVE_NONE: row(409, 'later', 'Cannot create volume "{volume}": there is no drive', {
    wayOut: 'Add one first (holdfast drive add NAME --size 10GiB)',
  }),
  DRIVE_IO: row(500, 'later', 'Drive "{drive}" failed: {problem}'),
  DRIVE_CORRUPT: row(500, 'never', 'Cannot open drive "{drive}": {problem}', {
    wayOut: 'holdfast drive check explains what is wrong and changes nothing',
  }),
  REPLICA_STATE: row(
    500,
    'never',
    'Cannot use a replica: what its drive keeps of the volume cannot be read: {problem}',
    { wayOut: 'Start the build that wrote it, or let the replica be made anew from the others' },
  ),
  SPACE_SHORT: row(507, 'later', 'Cannot make "{path}": it needs {needed}, and {free} are free', {
    wayOut: 'Free some space, or choose another place (--data DIR){alternatives}',
  }),
} as const satisfies Record<string, ErrorRow>;
