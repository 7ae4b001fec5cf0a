/** Looks every few seconds how processes and drives are. What has begun or ended since the last look becomes an event, with its cause. */

import type { DriveRecord, Subject, VolumeRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import {
  type Condition,
  type OpenCondition,
  awayCondition,
  conditionKey,
  driveCondition,
  endOf,
  openConditions,
} from './conditions.ts';
import { type ControlParts, tell } from './parts.ts';
import { findSupervisor } from './status.ts';

const LOOK_EVERY_MS = 2000;
/** A restart takes less than that, and is told as one. */
const PATIENCE = { waitMs: 3000, silenceMs: 3000 };
/** Bad blocks of one volume are told at once, and then once a minute. */
const BAD_BLOCKS_EVERY_MS = 60_000;

type Role = 'engine' | 'attacher';
type Told = { readonly checksumErrors: number; readonly readErrors: number; readonly atMs: number };
const NOTHING_TOLD: Told = { checksumErrors: 0, readErrors: 0, atMs: -Infinity };

type HealthParts = Pick<
  ControlParts,
  'records' | 'log' | 'newId' | 'wallMs' | 'node' | 'engine' | 'attacher' | 'installation'
>;

export class HealthKeeper {
  readonly #parts: HealthParts;
  /** Conditions that were told; undefined before the first look. */
  #open: Map<string, OpenCondition> | undefined;
  readonly #pids = new Map<Role, unknown>();
  /** Bad blocks that were told since the engine started, by drive and what they belong to. */
  #told = new Map<string, Told>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: HealthParts) {
    this.#parts = parts;
  }

  /** Looks now and then, until `stop`. */
  start(): void {
    void this.look().then(() => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.start(), LOOK_EVERY_MS);
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  /** Looks once. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() =>
      this.#look().catch((error: unknown) => {
        this.#parts.log('control.look_failed', { error: String(error) });
      }),
    );
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { records, engine } = this.#parts;
    this.#open ??= openConditions(await records.events(), this.#parts.node);
    const found: (Condition | undefined)[] = [
      await this.#process('attacher'),
      await this.#process('engine'),
    ];
    const answer = await engine.call('drive.list', {}, PATIENCE).catch(() => undefined);
    const drives = await records.drives();
    const statuses = answer?.['drives'] as readonly JsonObject[] | undefined;
    if (statuses !== undefined) {
      for (const drive of drives) {
        const status = statuses.find(({ driveId }) => driveId === drive.id);
        const full = { subject: `drive/${drive.name}`, begin: 'drive.full' } as const;
        const wasFull = this.#open.has(conditionKey(full));
        found.push(driveCondition(drive, status, { wasFull }));
        await this.#tellBadBlocks(drive, status);
      }
    }
    await this.#tellBegun(found);
    await this.#tellEnded(found, { drives, knowsDrives: statuses !== undefined });
  }

  /** Asks a process for an answer; tells of another one in its place. Resolves with its absence, as a condition. */
  async #process(role: Role): Promise<Condition | undefined> {
    const client = this.#parts[role];
    let hello: JsonObject;
    try {
      hello = await client.call('hello', { protocol: 1 }, PATIENCE);
    } catch (error) {
      return awayCondition(role, error instanceof Error ? error.message : String(error));
    }
    const before = this.#pids.get(role);
    const pid = hello['pid'];
    this.#pids.set(role, pid);
    if (before === undefined || before === pid) return undefined;
    // The new one counts from zero.
    if (role === 'engine') this.#told = new Map();
    const supervisor = findSupervisor(this.#parts.installation.runDirectory);
    await tell(this.#parts, `${role}.restarted`, {
      subject: `process/${role}`,
      what: `Another ${role} process serves: ${String(pid)} in place of ${String(before)}`,
      cause: supervisor?.processes[role]?.lastExit ?? undefined,
    });
    return undefined;
  }

  async #tellBegun(found: readonly (Condition | undefined)[]): Promise<void> {
    for (const condition of found) {
      if (condition === undefined) continue;
      const key = conditionKey(condition);
      if (this.#open?.has(key) !== false) continue;
      const { subject, begin, what, cause } = condition;
      await tell(this.#parts, begin, { subject, what, cause });
      this.#open.set(key, { subject, begin, sinceMs: this.#parts.wallMs() });
    }
  }

  async #tellEnded(
    found: readonly (Condition | undefined)[],
    known: { readonly drives: readonly DriveRecord[]; readonly knowsDrives: boolean },
  ): Promise<void> {
    const keys = new Set(found.map((each) => (each === undefined ? '' : conditionKey(each))));
    for (const [key, condition] of this.#open ?? []) {
      const { subject } = condition;
      const isDrive = subject.startsWith('drive/');
      if (keys.has(key) || (isDrive && !known.knowsDrives)) continue;
      this.#open?.delete(key);
      // A drive that was removed has not recovered.
      if (isDrive && !known.drives.some(({ name }) => subject === `drive/${name}`)) continue;
      const { kind, what } = endOf(condition);
      await tell(this.#parts, kind, { subject, what });
    }
  }

  /** Tells of bad blocks that were met since they were last told, for each volume by itself. */
  async #tellBadBlocks(drive: DriveRecord, status: JsonObject | undefined): Promise<void> {
    const list = (status?.['badBlocks'] ?? []) as readonly JsonObject[];
    if (list.length === 0) return;
    const volumes = await this.#parts.records.volumes();
    const nowMs = this.#parts.wallMs();
    for (const bad of list) {
      const key = `${drive.id} ${String(bad['of'])}`;
      const told = this.#told.get(key) ?? NOTHING_TOLD;
      const checksumErrors = Number(bad['checksumErrors']);
      const readErrors = Number(bad['readErrors']);
      const fresh = checksumErrors - told.checksumErrors + readErrors - told.readErrors;
      if (fresh <= 0 || nowMs < told.atMs + BAD_BLOCKS_EVERY_MS) continue;
      this.#told.set(key, { checksumErrors, readErrors, atMs: nowMs });
      const isRot = checksumErrors > told.checksumErrors;
      await tell(
        this.#parts,
        isRot ? 'drive.checksum_error' : 'drive.read_error',
        badBlocksTold({ drive, bad, volumes, fresh, isRot }),
      );
    }
  }
}

function badBlocksTold(met: {
  readonly drive: DriveRecord;
  readonly bad: JsonObject;
  readonly volumes: readonly VolumeRecord[];
  readonly fresh: number;
  readonly isRot: boolean;
}): { readonly subject: Subject; readonly what: string; readonly cause: string } {
  const { drive, bad, fresh, isRot } = met;
  const volume = met.volumes.find(({ id }) => id === bad['of']);
  const blocks = fresh === 1 ? 'a block' : `${fresh} blocks`;
  const last = `the last at byte ${String(bad['offsetBytes'])}`;
  return {
    subject: volume === undefined ? `drive/${drive.name}` : `volume/${volume.name}`,
    what:
      volume === undefined
        ? `Drive "${drive.name}" met bad blocks (${String(bad['of'])}): ${fresh}, ${last}`
        : `Reads of volume "${volume.name}" met ${blocks} that cannot be had, ${last}: they end in EIO`,
    cause: isRot
      ? `drive "${drive.name}" (${drive.path}) gave other bytes than were written`
      : `drive "${drive.name}" (${drive.path}) refused reads`,
  };
}
