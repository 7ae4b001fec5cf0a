/** Shapes of the REST API, for validation, for docs/openapi.json, and as types of the CLI. */

import { type Static, Type } from 'typebox';

import { BLOCK_BYTES } from '../model/block-target.ts';
import { LABEL_COUNT_MAX } from '../model/labels.ts';
import { SIZE_BYTES_MAX } from '../model/sizes.ts';
import { Replicas, ReplicasBody } from './replica-schemas.ts';

/** Entries of one answer. */
export const PAGE_COUNT_MAX = 1000;

/** Of a drive or volume. */
export const Name = Type.String({
  minLength: 1,
  maxLength: 63,
  pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]*$',
  description: 'Letters, digits, "_", "." and "-"',
});
/** A size. */
export const Bytes = Type.Integer({
  minimum: BLOCK_BYTES,
  maximum: SIZE_BYTES_MAX,
  multipleOf: BLOCK_BYTES,
  description: 'Bytes, whole blocks of 4096',
});
const PATH_LENGTH_MAX = 4000;
/** Absolute, and without what no path can hold. */
export const Path = (description: string) =>
  Type.String({ pattern: '^/[^\\0]*$', maxLength: PATH_LENGTH_MAX, description });
/** With null where there is none. */
export const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);

export const NameParams = Type.Object({ name: Name });
/** Headers of the requests that change something. */
export const ChangeHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 255,
      pattern: '^[\\x21-\\x7e]+$',
      description: 'The same request again with the same key, within a day, is carried out once',
    }),
  ),
  prefer: Type.Optional(
    Type.String({
      maxLength: 255,
      description:
        'RFC 7240: "respond-async, wait=SECONDS" answers 202 with the operation where it takes longer',
    }),
  ),
});
export const IdParams = Type.Object({
  id: Type.String({ pattern: '^[A-Za-z0-9_.-]+$', maxLength: 63 }),
});

const OwnerName = Type.String({ minLength: 1, maxLength: 255, pattern: '^[^\\0-\\x1f\\x7f]+$' });
const OwnerBody = Type.Object(
  { tenant: Type.Optional(OwnerName), group: Type.Optional(OwnerName) },
  { additionalProperties: false, description: 'Whose it is, in the words of the platform' },
);
const LabelsBody = Type.Record(Type.String(), Type.String(), {
  maxProperties: LABEL_COUNT_MAX,
  description:
    'Free words by key; a key has 1 to 128 letters, digits, ".", "_", "/" and "-", a value at most 255 characters',
});

const AutoGrow = Type.Object(
  { stepBytes: Bytes, ceilingBytes: Bytes },
  {
    additionalProperties: false,
    description:
      'When nine tenths of it are taken, it grows by a step, its file system too, up to the ceiling',
  },
);

export const VolumeBody = Type.Object(
  {
    name: Name,
    sizeBytes: Bytes,
    drive: Type.Optional(Name),
    owner: Type.Optional(OwnerBody),
    labels: Type.Optional(LabelsBody),
    autoGrow: Type.Optional(AutoGrow),
    replicas: Type.Optional(ReplicasBody),
  },
  { additionalProperties: false },
);

export const VolumeChange = Type.Object(
  {
    sizeBytes: Type.Optional(Bytes),
    owner: Type.Optional(OwnerBody),
    labels: Type.Optional(
      Type.Record(Type.String(), Nullable(Type.String()), { maxProperties: 2 * LABEL_COUNT_MAX }),
    ),
    autoGrow: Type.Optional(Nullable(AutoGrow)),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description:
      'A larger size; another owner; labels to set, and with null those to take away; how it grows by itself, null: it does not',
  },
);

/** The pages of a list. The answer's Link header (RFC 8288) leads to the next one, rel="next". */
const PageQuery = {
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: PAGE_COUNT_MAX })),
  after: Type.Optional(
    Type.String({ maxLength: 255, description: 'The last one of the page before' }),
  ),
};

export const AttachmentBody = Type.Object(
  {
    as: Type.Union([Type.Literal('nbd'), Type.Literal('device')]),
    force: Type.Optional(
      Type.Boolean({
        description: 'Take it from the node that has it: what that still does has no effect',
      }),
    ),
    acceptLoss: Type.Optional(
      Type.Boolean({
        description: 'As it is in the replica on the node that is asked: what that lacks is lost',
      }),
    ),
  },
  { additionalProperties: false },
);

export const MountBody = Type.Object(
  {
    fs: Type.Optional(
      Type.Union([Type.Literal('ext4'), Type.Literal('xfs')], {
        description: 'What the volume has, or was to have, without it; else ext4',
      }),
    ),
    path: Type.Optional(Path('Absolute; where it is mounted without it, else DIR/mnt/NAME')),
    force: Type.Optional(
      Type.Boolean({
        description: 'Make the file system over whatever the volume holds: that is lost',
      }),
    ),
  },
  { additionalProperties: false },
);

const forceQuery = (description: string) =>
  Type.Object(
    { force: Type.Optional(Type.Boolean({ description })) },
    { additionalProperties: false },
  );

export const DetachQuery = forceQuery('At once, whoever uses it: what was not flushed may be lost');

export const UnmountQuery = forceQuery(
  'Though a container engine has not said that it needs the mount no more; where I/O stands still, what was not flushed may be lost',
);

export const Volume = Type.Object({
  name: Name,
  id: Type.String(),
  drive: Type.String(),
  sizeBytes: Type.Integer(),
  allocatedBytes: Nullable(Type.Integer()),
  state: Type.String({ description: 'creating, removing, idle, attached, faulted or unknown' }),
  reason: Nullable(Type.String()),
  epoch: Type.Integer(),
  createdAt: Type.String(),
  owner: Type.Object({ tenant: Nullable(Type.String()), group: Nullable(Type.String()) }),
  labels: Type.Record(Type.String(), Type.String()),
  createdBy: Nullable(Type.String({ description: 'The program that asked for it' })),
  lastAttachedAt: Nullable(
    Type.String({ description: 'When it was attached or, after that, detached last' }),
  ),
  lastWrittenAt: Nullable(Type.String({ description: 'To the minute after' })),
  unusedSince: Nullable(
    Type.String({
      description: 'Since when nobody attached or wrote it; null while it is attached',
    }),
  ),
  autoGrow: Nullable(Type.Object({ stepBytes: Type.Integer(), ceilingBytes: Type.Integer() })),
  highWaterBytes: Nullable(Type.Integer({ description: 'The most that was allocated' })),
  replicas: Replicas,
  attachment: Nullable(
    Type.Object({
      attachId: Type.String(),
      node: Nullable(Type.String({ description: 'Of a cluster, where it is attached' })),
      as: Type.String(),
      state: Type.String(),
      uri: Nullable(Type.String({ description: 'nbd+unix URI' })),
      device: Nullable(Type.String()),
      connections: Nullable(Type.Integer()),
    }),
  ),
  mount: Nullable(
    Type.Object({
      path: Type.String(),
      fs: Type.String(),
      state: Type.String({ description: 'mounting, mounted, remounting or unmounting' }),
      growsAtNextMount: Type.Boolean({
        description:
          'The file system is smaller than the volume: the kernel grows a mounted ext4 only for those who have CAP_SYS_RESOURCE',
      }),
      holders: Type.Array(Type.String(), {
        description:
          'Who asked for it: "api", or PLUGIN/ID of a container engine. The last to go unmounts it',
      }),
    }),
  ),
});

export const VolumeQuery = Type.Object(
  {
    ...PageQuery,
    tenant: Type.Optional(OwnerName),
    label: Type.Optional(
      Type.Array(Type.String({ maxLength: 400 }), {
        maxItems: LABEL_COUNT_MAX,
        description: 'key=value, or a key with any value; several: all of them',
      }),
    ),
    unusedForMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'Those alone that nobody attached or wrote for so long',
      }),
    ),
    field: Type.Optional(
      Type.Array(Type.KeyOf(Volume), {
        description: 'Of each volume this alone; several: these. All without it',
      }),
    ),
  },
  { additionalProperties: false },
);

export const VolumePage = Type.Union([Type.Array(Volume), Type.Array(Type.Partial(Volume))], {
  description: 'The volumes; where fields were asked for, those of each',
});

export const Status = Type.Object({
  version: Type.String(),
  dataDir: Type.String(),
  io: Type.Object({ kind: Type.String(), reason: Nullable(Type.String()) }),
  processes: Type.Record(
    Type.String(),
    Type.Object({
      pid: Nullable(Type.Integer()),
      state: Type.String(),
      startedAt: Nullable(Type.String()),
      restarts: Type.Integer(),
    }),
  ),
  sockets: Type.Record(Type.String(), Type.String()),
  drives: Type.Array(
    Type.Object({
      driveId: Type.String(),
      name: Type.String(),
      path: Type.String(),
      freeBytes: Nullable(Type.Integer()),
      state: Type.String(),
      reason: Nullable(Type.String()),
      recoveryMs: Nullable(Type.Number({ description: 'How long its last open took' })),
      counters: Type.Record(Type.String(), Type.Integer()),
    }),
  ),
  volumes: Type.Integer(),
  underWay: Nullable(
    Type.String({
      description:
        'While control starts: what it brings to its end, such as a check of a file system, and how far that is',
    }),
  ),
  warnings: Type.Array(Type.String()),
  events: Type.Array(Type.Object({ at: Type.String(), what: Type.String() })),
});

/** A volume in the trash. */
export const Trashed = Type.Object({
  id: Type.String(),
  name: Name,
  drive: Type.String(),
  sizeBytes: Type.Integer(),
  allocatedBytes: Nullable(Type.Integer({ description: 'What a purge gives back' })),
  state: Type.String({ description: 'kept or purging' }),
  owner: Type.Object({ tenant: Nullable(Type.String()), group: Nullable(Type.String()) }),
  removedAt: Type.String(),
  purgeAt: Type.String({ description: 'When it is removed for good' }),
});

export const RestoreBody = Type.Object(
  { name: Type.Optional(Name) },
  { additionalProperties: false, description: 'Another name than it had' },
);

export const RemoveQuery = Type.Object(
  {
    now: Type.Optional(Type.Boolean({ description: 'At once and for good, not into the trash' })),
  },
  { additionalProperties: false },
);

export const RemovedVolume = Type.Object({
  removed: Type.Boolean({ description: 'False: it was not there' }),
  trash: Nullable(Trashed),
});

const DURATION_MS_MAX = 10 * 365 * 86_400_000;
const settings = {
  trashRetentionMs: Type.Integer({
    minimum: 0,
    maximum: DURATION_MS_MAX,
    description: 'How long a removed volume can be restored; 0: it is removed at once',
  }),
  overprovisionPercent: Nullable(
    Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      description:
        "What the sizes of a drive's volumes may come to, of the drive's; null: no limit",
    }),
  ),
  driveAlertPercents: Type.Array(Type.Integer({ minimum: 1, maximum: 100 }), {
    maxItems: 10,
    description: 'How full a drive is when an event tells it, ascending',
  }),
};
export const Settings = Type.Object(settings);
export const SettingsChange = Type.Partial(Type.Object(settings), { additionalProperties: false });

export const Purged = Type.Object({ purged: Type.Integer({ description: 'How many volumes' }) });

export const Removed = Type.Object({
  removed: Type.Boolean({ description: 'False: it was not there' }),
});
export const Released = Type.Object({
  problems: Type.Array(Type.String(), { description: 'What stands in the way of the rest' }),
  stopped: Type.Array(Type.String(), {
    description: 'File systems that were unmounted and had stopped writing before',
  }),
  stalled: Type.Array(Type.Object({ volume: Type.String(), reason: Type.String() }), {
    description:
      'Of the problems, volumes whose I/O stands still: to be detached by force, or waited for',
  }),
});

/** RFC 9457. */
export const ProblemDetails = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  code: Type.String(),
  detail: Type.String(),
  wayOut: Type.Optional(Type.String()),
});

/** What every route may answer instead. */
export const problems = { '4xx': ProblemDetails, '5xx': ProblemDetails };

export const Explanation = Type.Object({
  volume: Name,
  isWell: Type.Boolean({ description: 'Nothing is found: all is as it should be' }),
  findings: Type.Array(
    Type.Object({
      kind: Type.String(),
      chain: Type.Array(Type.String(), { description: 'From what is seen to its cause' }),
      since: Nullable(Type.String()),
      ends: Type.String({ description: 'What ends it' }),
    }),
  ),
});

export type ExplanationView = Static<typeof Explanation>;
export type TrashedView = Static<typeof Trashed>;
export type RemovedVolumeView = Static<typeof RemovedVolume>;
export type SettingsView = Static<typeof Settings>;
export type VolumeView = Static<typeof Volume>;
export type StatusView = Static<typeof Status>;
export type ProblemView = Static<typeof ProblemDetails>;
export type ReleasedView = Static<typeof Released>;
