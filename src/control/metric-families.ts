/**
 * The metrics of an installation: names and units by Prometheus' conventions (https://prometheus.io/docs/practices/naming/), each with
 * how its samples come from the facts of one scrape.
 */

import type { ProcessStats } from '../env/node/process-watch.ts';
import { type Durations, bucketBoundUs } from '../lib/histogram.ts';
import type { DriveRecord, VolumeRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';

/** What one scrape is made of. */
export type Facts = {
  readonly version: string;
  readonly ioKind: string;
  /** By role. */
  readonly processes: ReadonlyMap<string, ProcessFacts>;
  readonly drives: readonly (readonly [DriveRecord, JsonObject | undefined])[];
  /** Those that have series, with what the engine says of them and of their I/O. */
  readonly volumes: readonly VolumeFacts[];
  readonly volumeCount: number;
  /** Removed volumes that can be restored, and the space that they hold. */
  readonly trash: { readonly count: number; readonly allocatedBytes: number };
  readonly operationsRunning: number;
};

export type ProcessFacts = {
  readonly up: boolean;
  readonly restarts: number;
  readonly startedAtMs: number | undefined;
  /** An engine of an earlier version says less of itself. */
  readonly stats: Partial<ProcessStats> | undefined;
};

export type VolumeFacts = {
  readonly record: VolumeRecord;
  readonly status: JsonObject | undefined;
  readonly meter: JsonObject | undefined;
};

export type Sample = {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

export type Family = {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly samples: (facts: Facts) => Sample[];
};

const OPERATIONS = ['read', 'write', 'flush', 'trim', 'zero'] as const;
const DRIVE_STATES = ['open', 'read-only', 'faulted', 'unknown'] as const;
/** Every second bound: 32 µs, 128 µs, … 2 s. With ten buckets a volume has some 40 series, not 80. */
const BUCKETS = [1, 3, 5, 7, 9, 11, 13, 15, 17, 19];

const one = (value: number, labels: Readonly<Record<string, string>> = {}): Sample[] => [
  { labels, value },
];

const installation: readonly Family[] = [
  {
    name: 'holdfast_build_info',
    help: 'Version of Holdfast and how its engine does I/O; always 1',
    type: 'gauge',
    samples: ({ version, ioKind }) => one(1, { version, io: ioKind, node: process.versions.node }),
  },
  {
    name: 'holdfast_volumes',
    help: 'Volumes of the installation',
    type: 'gauge',
    samples: ({ volumeCount }) => one(volumeCount),
  },
  {
    name: 'holdfast_volumes_without_series',
    help: 'Volumes that have no series of their own, since there are too many',
    type: 'gauge',
    samples: ({ volumeCount, volumes }) => one(volumeCount - volumes.length),
  },
  {
    name: 'holdfast_trash_volumes',
    help: 'Removed volumes that can be restored',
    type: 'gauge',
    samples: ({ trash }) => one(trash.count),
  },
  {
    name: 'holdfast_trash_allocated_bytes',
    help: 'Space that removed volumes hold until they are purged',
    type: 'gauge',
    samples: ({ trash }) => one(trash.allocatedBytes),
  },
  {
    name: 'holdfast_operations_running',
    help: 'Operations that have begun and not ended',
    type: 'gauge',
    samples: ({ operationsRunning }) => one(operationsRunning),
  },
];

function ofProcesses(
  valueOf: (facts: ProcessFacts) => number | undefined,
): (facts: Facts) => Sample[] {
  return ({ processes }) =>
    [...processes].flatMap(([role, facts]) => {
      const value = valueOf(facts);
      return value === undefined ? [] : one(value, { process: role });
    });
}

function durationsOfProcesses(
  name: string,
  of: (stats: Partial<ProcessStats>) => Durations | undefined,
): (facts: Facts) => Sample[] {
  return ({ processes }) =>
    [...processes].flatMap(([role, { stats }]) => {
      const durations = stats === undefined ? undefined : of(stats);
      return durations === undefined ? [] : histogram(name, { process: role }, durations);
    });
}

const processes: readonly Family[] = [
  {
    name: 'holdfast_process_up',
    help: 'Whether the process answers',
    type: 'gauge',
    samples: ofProcesses(({ up }) => Number(up)),
  },
  {
    name: 'holdfast_process_restarts_total',
    help: 'How often the supervisor has started the process again',
    type: 'counter',
    samples: ofProcesses(({ restarts }) => restarts),
  },
  {
    name: 'holdfast_process_start_time_seconds',
    help: 'When the process was started, since 1970',
    type: 'gauge',
    samples: ofProcesses(({ startedAtMs }) =>
      startedAtMs === undefined ? undefined : startedAtMs / 1000,
    ),
  },
  {
    name: 'holdfast_process_cpu_seconds_total',
    help: 'CPU time of the process, user and system',
    type: 'counter',
    samples: ofProcesses(({ stats }) =>
      stats?.cpuUs === undefined ? undefined : (stats.cpuUs.user + stats.cpuUs.system) / 1e6,
    ),
  },
  {
    name: 'holdfast_process_resident_memory_bytes',
    help: 'Resident memory of the process',
    type: 'gauge',
    samples: ofProcesses(({ stats }) => stats?.memory?.rss),
  },
  {
    name: 'holdfast_process_event_loop_delay_seconds',
    help: 'How late the loop of the process came to a timer, asked once a second',
    type: 'histogram',
    samples: durationsOfProcesses(
      'holdfast_process_event_loop_delay_seconds',
      ({ loopDelay }) => loopDelay,
    ),
  },
  {
    name: 'holdfast_process_gc_pause_seconds',
    help: 'Pauses of the garbage collector',
    type: 'histogram',
    samples: durationsOfProcesses('holdfast_process_gc_pause_seconds', ({ gcPause }) => gcPause),
  },
];

function driveGauge(name: string, help: string, field: string): Family {
  return { name, help, type: 'gauge', samples: ofDrives((status) => status?.[field]) };
}

function driveCounter(name: string, help: string, counter: string): Family {
  const samples = ofDrives((status) => (status?.['counters'] as JsonObject | undefined)?.[counter]);
  return { name, help, type: 'counter', samples };
}

function ofDrives(
  valueOf: (status: JsonObject | undefined) => unknown,
): (facts: Facts) => Sample[] {
  return ({ drives }) =>
    drives.flatMap(([{ name }, status]) => {
      const value = valueOf(status);
      return typeof value === 'number' ? one(value, { drive: name }) : [];
    });
}

const drives: readonly Family[] = [
  {
    name: 'holdfast_drive_info',
    help: 'Where the drive is; always 1',
    type: 'gauge',
    samples: (facts) =>
      facts.drives.flatMap(([{ name, id, path }]) => one(1, { drive: name, id, path })),
  },
  {
    name: 'holdfast_drive_state',
    help: 'Which state the drive is in: 1 for that, 0 for the others',
    type: 'gauge',
    samples: (facts) =>
      facts.drives.flatMap(([{ name }, status]) =>
        DRIVE_STATES.flatMap((state) =>
          one(Number(state === (status?.['state'] ?? 'unknown')), { drive: name, state }),
        ),
      ),
  },
  driveGauge('holdfast_drive_size_bytes', 'Size of the drive', 'sizeBytes'),
  driveGauge('holdfast_drive_used_bytes', 'Space that volumes take of the drive', 'usedBytes'),
  driveGauge('holdfast_drive_free_bytes', 'Space that volumes can still take', 'freeBytes'),
  driveGauge(
    'holdfast_drive_reserve_bytes',
    'Space kept for trims over snapshots, neither used nor free',
    'reserveBytes',
  ),
  driveCounter('holdfast_drive_fdatasyncs_total', 'Calls of fdatasync on the drive', 'fdatasyncs'),
  driveCounter('holdfast_drive_flushes_total', 'Flushes that volumes asked for', 'flushes'),
  driveCounter('holdfast_drive_reads_total', 'Reads of data from the drive', 'reads'),
  driveCounter('holdfast_drive_writes_total', 'Writes of data to the drive', 'writes'),
  driveCounter('holdfast_drive_log_frames_total', 'Writes to the log of the drive', 'frames'),
  driveCounter('holdfast_drive_checkpoints_total', 'Checkpoints of the drive', 'checkpoints'),
  driveCounter(
    'holdfast_drive_checksum_errors_total',
    'Blocks and pages whose bytes were not those that were written',
    'checksumErrors',
  ),
  driveCounter('holdfast_drive_read_errors_total', 'Reads that the drive refused', 'readErrors'),
  driveCounter(
    'holdfast_drive_pages_healed_total',
    'Metadata pages that were written anew from their good copy',
    'pagesHealed',
  ),
];

function volumeGauge(name: string, help: string, valueOf: (facts: VolumeFacts) => unknown): Family {
  return {
    name,
    help,
    type: 'gauge',
    samples: ({ volumes }) =>
      volumes.flatMap((facts) => {
        const value = valueOf(facts);
        return typeof value === 'number' ? one(value, { volume: facts.record.name }) : [];
      }),
  };
}

type Counts = Durations & { readonly bytes: number; readonly errors: number };

/** Of volumes that were served since the engine started: each kind of operation by itself. */
function ofOperations(
  samplesOf: (labels: Readonly<Record<string, string>>, counts: Counts) => Sample[],
): (facts: Facts) => Sample[] {
  return ({ volumes }) =>
    volumes.flatMap(({ record, meter }) =>
      OPERATIONS.flatMap((operation) => {
        const counts = meter?.[operation] as Counts | undefined;
        return counts === undefined ? [] : samplesOf({ volume: record.name, operation }, counts);
      }),
    );
}

const DURATION = 'holdfast_volume_operation_duration_seconds';

const volumes: readonly Family[] = [
  {
    name: 'holdfast_volume_info',
    help: 'Where the volume is and whose; always 1',
    type: 'gauge',
    samples: (facts) =>
      facts.volumes.flatMap(({ record: { name, id, drive, owner } }) =>
        one(1, {
          volume: name,
          id,
          drive,
          tenant: owner?.tenant ?? '',
          group: owner?.group ?? '',
        }),
      ),
  },
  volumeGauge(
    'holdfast_volume_size_bytes',
    'Logical size of the volume',
    ({ record }) => record.sizeBytes,
  ),
  volumeGauge(
    'holdfast_volume_allocated_bytes',
    'Space that the volume takes of its drive',
    ({ status }) => status?.['allocatedBytes'],
  ),
  volumeGauge('holdfast_volume_attached', 'Whether the volume is attached', ({ record }) =>
    Number(record.attachment?.state === 'attached'),
  ),
  volumeGauge('holdfast_volume_mounted', 'Whether Holdfast has mounted the volume', ({ record }) =>
    Number(record.mount?.state === 'mounted'),
  ),
  volumeGauge(
    'holdfast_volume_in_flight_operations',
    'Operations of the clients of the volume that have begun and not ended: its queue depth',
    ({ meter }) => meter?.['inFlight'],
  ),
  {
    name: 'holdfast_volume_operations_total',
    help: 'Operations that the clients of the volume asked for and that are over',
    type: 'counter',
    samples: ofOperations((labels, { count }) => one(count, labels)),
  },
  {
    name: 'holdfast_volume_operation_bytes_total',
    help: 'Bytes of the operations that went well',
    type: 'counter',
    samples: ofOperations((labels, { bytes }) =>
      labels['operation'] === 'flush' ? [] : one(bytes, labels),
    ),
  },
  {
    name: 'holdfast_volume_operation_errors_total',
    help: 'Operations that ended in an error for the client',
    type: 'counter',
    samples: ofOperations((labels, { errors }) => one(errors, labels)),
  },
  {
    name: DURATION,
    help: 'How long the operations of the clients of the volume took in the engine',
    type: 'histogram',
    samples: ofOperations((labels, counts) =>
      counts.count === 0 ? [] : histogram(DURATION, labels, counts),
    ),
  },
];

/** In the order of the exposition. */
export const METRIC_FAMILIES: readonly Family[] = [
  ...installation,
  ...processes,
  ...drives,
  ...volumes,
];

/** Cumulative buckets, sum and count. */
function histogram(
  name: string,
  labels: Readonly<Record<string, string>>,
  { latency, us, count }: Durations,
): Sample[] {
  const samples: Sample[] = [];
  let below = 0;
  let from = 0;
  for (const bucket of BUCKETS) {
    for (; from <= bucket; from++) below += latency[from] ?? 0;
    const boundUs = bucketBoundUs(bucket);
    const le = boundUs === Infinity ? '+Inf' : String(boundUs / 1e6);
    samples.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: below });
  }
  samples.push(
    { metricName: `${name}_sum`, labels, value: us / 1e6 },
    { metricName: `${name}_count`, labels, value: count },
  );
  return samples;
}
