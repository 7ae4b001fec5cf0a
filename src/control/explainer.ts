/** Gathers what there is to know of one volume, from records, processes and the kernel, and explains it. */

import { mountAt } from '../attacher/mount-table.ts';
import { isAlive } from '../attacher/process-identity.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { type Beginning, conditionKey, openConditions } from './conditions.ts';
import { type Finding, type PeerFacts, type VolumeFacts, explain } from './explain.ts';
import type { ControlParts } from './parts.ts';
import type { ExplanationView } from './schemas.ts';
import { findSupervisor } from './status.ts';
import type { UsageKeeper } from './usage.ts';
import type { Volumes } from './volumes.ts';

/** Who asks is told that a process is away, and does not wait until it is back. */
const AT_ONCE = { waitMs: 300, silenceMs: 1500 };

type Uses = { readonly volumes: Volumes; readonly usage: Pick<UsageKeeper, 'lookedAtMs'> };

export class Explainer {
  readonly #parts: ControlParts;
  readonly #uses: Uses;

  constructor(parts: ControlParts, uses: Uses) {
    this.#parts = parts;
    this.#uses = uses;
  }

  /** What is not as it should be with a volume, and what ends it. Throws VOLUME_NOT_FOUND. */
  async explain(name: string): Promise<ExplanationView> {
    const volume = await this.#uses.volumes.get(name);
    const { records, wallMs } = this.#parts;
    const events = await records.events();
    const [engine, attacher] = await Promise.all([
      this.#ask('engine', 'drive.list'),
      this.#ask('attacher', 'list'),
    ]);
    const open = openConditions(events, this.#parts.node);
    const drive = (await records.drive(volume.drive))?.record;
    const supervisor = findSupervisor(this.#parts.installation.runDirectory);
    const peer = (role: 'engine' | 'attacher', problem: string | undefined): PeerFacts => {
      const begin: Beginning = `${role}.away`;
      const away = open.get(conditionKey({ subject: `process/${role}`, begin }));
      const lastExit = supervisor?.processes[role]?.lastExit ?? undefined;
      return { problem, sinceMs: away?.sinceMs, lastExit };
    };
    const target = `volume/${name}`;
    const facts: VolumeFacts = {
      volume,
      engine: peer('engine', engine.problem),
      attacher: peer('attacher', attacher.problem),
      isSupervised: supervisor === undefined || isAlive(supervisor),
      drive,
      driveStatus: listed(engine.answer, 'drives').find(({ driveId }) => driveId === drive?.id),
      volumeStatus:
        engine.problem === undefined ? await this.#uses.volumes.engineStatusOf(volume) : undefined,
      device: listed(attacher.answer, 'devices').find(
        ({ attachId }) => attachId === volume.attachment?.attachId,
      ),
      mounted: volume.mount === undefined ? undefined : mountAt(volume.mount.path),
      running: (await records.operations()).find(
        (operation) => operation.target === target && operation.state === 'running',
      ),
      failure: events.find(
        ({ kind, subject }) => kind === 'reconcile.failed' && subject === target,
      ),
      usageAtMs: this.#uses.usage.lookedAtMs,
      nowMs: wallMs(),
    };
    const findings = explain(facts);
    return { volume: name, isWell: findings.length === 0, findings: findings.map(viewFinding) };
  }

  async #ask(
    role: 'engine' | 'attacher',
    call: string,
  ): Promise<{ readonly answer?: JsonObject; readonly problem?: string }> {
    try {
      return { answer: await this.#parts[role].call(call, {}, AT_ONCE) };
    } catch (error) {
      return { problem: error instanceof Error ? error.message : String(error) };
    }
  }
}

function listed(answer: JsonObject | undefined, field: string): readonly JsonObject[] {
  return (answer?.[field] ?? []) as readonly JsonObject[];
}

function viewFinding({ kind, chain, sinceMs, ends }: Finding): ExplanationView['findings'][number] {
  const since = sinceMs === undefined ? null : new Date(sinceMs).toISOString();
  return { kind, chain: [...chain], since, ends };
}
