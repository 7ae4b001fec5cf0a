/** What a drive should hold: its volumes with their snapshots, and what is half done when it dies. */

import { promised, type Fault } from './faults.ts';
import { VolumeModel } from './model.ts';
import { LifeModel, ReplicaModel } from './replica-model.ts';
import type { SnapshotModel } from './snapshot-model.ts';
import type { ListedVolume } from './store-under-test.ts';
import { Violation } from './world.ts';

/** acknowledged: it is there; making, removing: a crash may leave it or not. */
type Presence = 'making' | 'there' | 'removing';

export type ModelledSnapshot = {
  readonly content: SnapshotModel;
  /** Undefined while it is being made. */
  birth: number | undefined;
  presence: Presence;
};

export type ModelledVolume = {
  readonly uuid: string;
  readonly content: VolumeModel;
  /** Of a volume with several replicas. */
  readonly replica: ReplicaModel | undefined;
  presence: Presence;
  /** The size that a resize under way asks for. */
  growingTo: number | undefined;
  snapshots: ModelledSnapshot[];
};

export class DriveModel {
  readonly life: LifeModel = new LifeModel();
  volumes: ModelledVolume[] = [];
  /** Volumes that were deleted, and acknowledged as such. */
  readonly #gone = new Set<string>();
  /** Faults that struck so far. */
  strikes = 0;
  /** A page may be gone, and with it what any volume has, or will have, on its extents. */
  #mayFail = false;
  #nextId = 1;
  #nextChange = 1;

  /** The number of the next change: a place in the order of calls. */
  get clock(): number {
    return this.#nextChange;
  }

  nextChange(): number {
    return this.#nextChange++;
  }

  /** A fault strikes: what it may cost from now on. */
  strike(fault: Fault): void {
    this.strikes++;
    this.life.strike();
    if (promised(fault) !== 'nothing-lost') {
      this.#mayFail = true;
      for (const { content } of this.volumes) content.mayFail = true;
    }
    const { kind } = fault.give;
    if (fault.on !== 'write' || (kind !== 'error' && kind !== 'short')) return;
    for (const { content } of this.volumes) content.writeFailed();
  }

  make(
    uuid: string,
    sizeBytes: number,
    replica?: { readonly mayBeCoarse: boolean },
  ): ModelledVolume {
    const id = this.#nextId++;
    const content = new VolumeModel({ id, name: uuid.slice(0, 8), sizeBytes });
    content.mayFail = this.#mayFail;
    const volume: ModelledVolume = {
      uuid,
      content,
      replica: replica === undefined ? undefined : new ReplicaModel(content, replica),
      presence: 'making',
      growingTo: undefined,
      snapshots: [],
    };
    this.volumes.push(volume);
    return volume;
  }

  removed(volume: ModelledVolume): void {
    this.volumes = this.volumes.filter((other) => other !== volume);
    this.#gone.add(volume.uuid);
  }

  crash(kind: 'kill' | 'cut'): void {
    this.life.ended(kind);
    for (const volume of this.volumes) {
      volume.content.crash(kind);
      for (const snapshot of volume.snapshots) {
        if (snapshot.presence !== 'making') continue;
        if (kind === 'cut') snapshot.content.cut();
        if (!snapshot.content.isDone) snapshot.content.done();
      }
    }
  }

  /** A drive that may have gone back in time was opened: takes over what it lists, whatever that is. */
  recoveredOutdated(listed: readonly ListedVolume[]): void {
    this.volumes = this.volumes.filter((volume) => {
      const found = listed.find((candidate) => candidate.uuid === volume.uuid);
      if (found === undefined) return false;
      volume.presence = 'there';
      volume.snapshots = [];
      volume.growingTo = undefined;
      volume.content.outdated = true;
      volume.content.mayFail = true;
      volume.content.resize(found.sizeBytes);
      volume.content.recovered();
      return true;
    });
  }

  /** A drive was opened: compares what it lists, and takes over what was half done. */
  recovered(listed: readonly ListedVolume[]): void {
    for (const { uuid } of listed) {
      if (this.#gone.has(uuid))
        throw new Violation('volumes', `volume ${uuid} is back after its deletion`);
      if (!this.volumes.some((volume) => volume.uuid === uuid)) {
        throw new Violation('volumes', `volume ${uuid} was never made`);
      }
    }
    for (const volume of this.volumes) {
      const found = listed.find((candidate) => candidate.uuid === volume.uuid);
      if (found === undefined) {
        if (volume.presence === 'there')
          throw new Violation('volumes', `volume ${volume.uuid} is lost`);
        this.removed(volume);
        continue;
      }
      volume.presence = 'there';
      this.#takeSize(volume, found.sizeBytes);
      volume.content.recovered();
      this.#takeSnapshots(volume, found.snapshots);
    }
  }

  #takeSize(volume: ModelledVolume, sizeBytes: number): void {
    const { content, growingTo } = volume;
    if (sizeBytes !== content.sizeBytes && sizeBytes !== growingTo) {
      throw new Violation(
        'volumes',
        `volume ${volume.uuid} has ${sizeBytes} bytes instead of ${content.sizeBytes}`,
      );
    }
    if (sizeBytes !== content.sizeBytes) content.resize(sizeBytes);
    volume.growingTo = undefined;
  }

  #takeSnapshots(volume: ModelledVolume, births: readonly number[]): void {
    const kept: ModelledSnapshot[] = [];
    const unknown = births.filter((birth) => !volume.snapshots.some((s) => s.birth === birth));
    for (const snapshot of volume.snapshots) {
      // One that was being made when the drive died has a birth that nobody was told.
      const birth = snapshot.birth ?? unknown.shift();
      if (birth === undefined || !births.includes(birth)) {
        if (snapshot.presence === 'there') {
          throw new Violation(
            'snapshots',
            `snapshot ${snapshot.birth} of volume ${volume.uuid} is lost`,
          );
        }
        continue;
      }
      kept.push({ ...snapshot, birth, presence: 'there' });
    }
    if (unknown.length > 0) {
      throw new Violation(
        'snapshots',
        `snapshot ${unknown.join()} of volume ${volume.uuid} was never made`,
      );
    }
    volume.snapshots = kept;
  }
}
