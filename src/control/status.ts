/** How the installation is: its processes, I/O, sockets, warnings. */

import { isAlive } from '../attacher/process-identity.ts';
import { type DriveRecord, type VolumeRecord, isLost, settlerOf } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { FULL_BYTES } from './conditions.ts';
import type { ControlParts } from './parts.ts';
import { amountInWords } from './progress.ts';
import type { StatusView } from './schemas.ts';
import { isService, readServices } from './service-manager.ts';
import { type SupervisorState, readSupervisor } from './supervisor-state.ts';
import type { TcpApi } from './tcp-api.ts';

const EVENTS_SHOWN = 10;
/** Who asks how things are is told that a process is away, and does not wait until it is back. */
const AT_ONCE = { waitMs: 300, silenceMs: 1500 };

/** Reads the status from the processes, the records and the supervisor's file. */
export class StatusReader {
  readonly #parts: ControlParts;
  readonly #version: string;
  readonly #tcp: { readonly address?: string | undefined; readonly problem?: string | undefined };
  /** What was wanted before this start is settled. */
  settled = false;

  constructor(
    parts: ControlParts,
    options: { readonly version: string; readonly tcp?: Pick<TcpApi, 'address' | 'problem'> },
  ) {
    this.#parts = parts;
    this.#version = options.version;
    this.#tcp = options.tcp ?? {};
  }

  async read(): Promise<StatusView> {
    const { installation, node, records, engine, attacher } = this.#parts;
    const [engineHello, attacherHello, drives, volumes, events] = await Promise.all([
      hello(engine),
      hello(attacher),
      records.drives(),
      records.volumes(),
      records.events(),
    ]);
    const supervisor = findSupervisor(installation.runDirectory);
    const kept = await readKept(installation.runDirectory);
    const io = (engineHello?.['io'] ?? {}) as JsonObject;
    const known = await this.#drives(drives);
    const warnings = [
      ...known.flatMap(warningsOfDrive),
      // Of a cluster's other nodes it is theirs to tell.
      ...(this.settled
        ? warningsOfVolumes(volumes.filter((volume) => settlerOf(volume) === node))
        : []),
      ...warningsOf('engine', engineHello),
      ...warningsOf('attacher', attacherHello),
      ...(supervisor?.notes ?? []),
      ...(supervisor === undefined || isAlive(supervisor) ? [] : [deadSupervisor(supervisor)]),
    ];
    if (this.#tcp.problem !== undefined) {
      warnings.push(`The API is not on TCP as it should be: ${this.#tcp.problem}`);
    }
    if (io['kind'] === 'node') {
      warnings.push(`engine: io_uring cannot be used (${String(io['reason'])}): I/O is slower`);
    }
    return {
      version: this.#version,
      dataDir: installation.directory,
      io: {
        kind: String(io['kind'] ?? 'unknown'),
        reason: typeof io['reason'] === 'string' ? io['reason'] : null,
      },
      processes: processesOf(
        supervisor,
        kept,
        {
          engine: engineHello !== undefined,
          attacher: attacherHello !== undefined,
          control: true,
          // Of etcd it is its life alone that is looked at: what it answers, the store tells.
          ...(kept?.['etcd'] === undefined ? {} : { etcd: kept['etcd'].pid !== null }),
        },
        this.settled,
      ),
      sockets: {
        api: installation.apiSocket,
        engine: installation.engineSocket,
        attacher: installation.attacherSocket,
        ...(this.#tcp.address === undefined ? {} : { tcp: this.#tcp.address }),
      },
      drives: known,
      volumes: volumes.length,
      underWay: this.settled ? null : this.#underWay(),
      warnings,
      events: events
        .slice(0, EVENTS_SHOWN)
        .map(({ atMs, what }) => ({ at: new Date(atMs).toISOString(), what })),
    };
  }

  #underWay(): string | null {
    const newest = this.#parts.progress.newest();
    if (newest === undefined) return null;
    const { phase, amount } = newest.progress;
    const [kind = '', name = ''] = newest.target.split('/');
    const howFar = amount === undefined ? '' : `, ${amountInWords(amount)}`;
    return `${kind} "${name}": ${phase}${howFar}`;
  }

  async #drives(known: readonly DriveRecord[]): Promise<StatusView['drives']> {
    const answer = await this.#parts.engine
      .call('drive.list', {}, AT_ONCE)
      .catch((): JsonObject => ({ drives: [] }));
    const statuses = new Map(
      (answer['drives'] as readonly JsonObject[]).map((drive) => [String(drive['driveId']), drive]),
    );
    return known.map(({ id, name, path: at }) => {
      const status = statuses.get(id);
      const recovery = status?.['recovery'] as { readonly ms?: number } | undefined;
      return {
        driveId: id,
        name,
        path: at,
        freeBytes: typeof status?.['freeBytes'] === 'number' ? status['freeBytes'] : null,
        state: String(status?.['state'] ?? 'unknown'),
        reason: typeof status?.['reason'] === 'string' ? status['reason'] : null,
        recoveryMs: recovery?.ms ?? null,
        counters: (status?.['counters'] ?? {}) as Record<string, number>,
      };
    });
  }
}

/** Makes sure of the connection: hello is what the peer said when it was made. */
async function hello(client: ControlParts['engine']): Promise<JsonObject | undefined> {
  try {
    return await client.call('hello', { protocol: 1 }, AT_ONCE);
  } catch {
    return undefined;
  }
}

function warningsOf(role: string, said: JsonObject | undefined): string[] {
  const warnings = said?.['warnings'];
  return Array.isArray(warnings) ? warnings.map((warning) => `${role}: ${String(warning)}`) : [];
}

type DriveStatus = StatusView['drives'][number];

/** What somebody has to do about a drive. */
function warningsOfDrive(drive: DriveStatus): string[] {
  const { name, path: at, state, reason, freeBytes, counters } = drive;
  if (state !== 'open' && state !== 'unknown') {
    return [`drive "${name}" is ${state}: ${reason ?? at}`];
  }
  const warnings: string[] = [];
  if (freeBytes !== null && freeBytes < FULL_BYTES) {
    warnings.push(
      `drive "${name}" is full: writes to new places end in ENOSPC. Remove volumes, trim file systems, or make it larger (holdfast drive grow ${name})`,
    );
  }
  const bad = (counters['checksumErrors'] ?? 0) + (counters['readErrors'] ?? 0);
  if (bad > 0) {
    warnings.push(
      `drive "${name}" gave ${bad} bad blocks since it was opened: holdfast drive check "${at}" tells which (after holdfast down)`,
    );
  }
  return warnings;
}

const VOLUMES_SHOWN_MAX = 5;

/** Volumes that could not be attached or mounted again. */
function warningsOfVolumes(volumes: readonly VolumeRecord[]): string[] {
  const lost = volumes.filter(isLost);
  const warnings = lost.slice(0, VOLUMES_SHOWN_MAX).map(({ name, mount }) => {
    const seen = mount === undefined ? 'attached' : `mounted at ${mount.path}`;
    return `volume "${name}" is not ${seen}, as it was: holdfast explain volume ${name}`;
  });
  const more = lost.length - warnings.length;
  return more > 0 ? [...warnings, `so are ${more} volumes more`] : warnings;
}

function deadSupervisor({ pid }: SupervisorState): string {
  return `supervisor: process ${pid} is dead, and what dies now is not started again. holdfast up takes over, and what is mounted stays`;
}

/** The supervisor's own account; undefined where systemd starts the processes, or nothing was written yet. */
export function findSupervisor(runDirectory: string): SupervisorState | undefined {
  return isService() ? undefined : readSupervisor(runDirectory);
}

/** What is known of engine, attacher, control and etcd by who starts them: the supervisor, or systemd. */
export async function readKept(
  runDirectory: string,
): Promise<SupervisorState['processes'] | undefined> {
  return isService() ? await readServices() : readSupervisor(runDirectory)?.processes;
}

function processesOf(
  supervisor: SupervisorState | undefined,
  started: SupervisorState['processes'] | undefined,
  answering: Readonly<Record<string, boolean>>,
  settled: boolean,
): StatusView['processes'] {
  const processes: StatusView['processes'] = {};
  if (supervisor !== undefined) {
    const { pid, startedAt } = supervisor;
    const state = isAlive(supervisor) ? 'running' : 'dead';
    processes['supervisor'] = { pid, startedAt, state, restarts: 0 };
  }
  for (const [role, answers] of Object.entries(answering)) {
    const kept = started?.[role];
    processes[role] = {
      pid: kept?.pid ?? null,
      startedAt: kept?.startedAt ?? null,
      state: !answers ? 'away' : role === 'control' && !settled ? 'starting' : 'running',
      restarts: kept?.restarts ?? 0,
    };
  }
  return processes;
}
