/** Where the replicas of a new volume go: the records of the cluster as src/placement wants them. */

import { Refusal } from '../../model/errors.ts';
import type { Replication, VolumeRecord } from '../../model/records.ts';
import { Cluster } from '../../placement/cluster.ts';
import type { Drive, Replica, Volume } from '../../placement/model.ts';
import type { NoPlace } from '../../placement/no-place.ts';
import { explainPlacement } from '../../placement/place.ts';
import { defaultMinimum } from '../../replication/record.ts';
import type { RecordsStore } from '../records-store.ts';
import type { Nodes } from './nodes.ts';
import { placedName, storedVolumes } from './stored-volumes.ts';

/** A volume that is to be placed. */
export type PlacedVolume = Pick<VolumeRecord, 'name' | 'id' | 'sizeBytes' | 'owner'> & {
  readonly replication: Replication;
};

/** What {@link Nodes} knows and the records do not. */
export type NodesSeen = Pick<Nodes, 'liveness' | 'clockOf'>;

/** On a single machine. */
export const NOBODY_AWAY: NodesSeen = {
  liveness: () => ({ kind: 'up' }),
  clockOf: (wallMs) => wallMs,
};

/** The nodes, drives and volumes of the records, those in the trash among them. */
export async function clusterOf(records: RecordsStore, seen: NodesSeen): Promise<Cluster> {
  const [nodes, stored, usages, settings] = await Promise.all([
    records.nodes(),
    storedVolumes(records),
    records.usages(),
    records.settings(),
  ]);
  const isAway = (node: string | undefined): boolean =>
    node !== undefined && seen.liveness(node).kind === 'down';
  const blocked = new Set(
    stored.flatMap(({ volume: { id, attachment } }) => (isAway(attachment?.node) ? [id] : [])),
  );
  const byVolume = await replicasByVolume(records, blocked);
  const names = new Set(nodes.map(({ name }) => name));
  return new Cluster({
    nodes: nodes.map(({ name, labels, service }) => ({
      name,
      ...labels,
      service,
      liveness: seen.liveness(name),
    })),
    drives: (await drivesOf(records, seen)).filter(({ node }) => names.has(node)),
    volumes: stored.flatMap((each) => {
      const { replication, ...volume } = each.volume;
      if (replication === undefined) return [];
      const localTo = replication.local ? volume.attachment?.node : undefined;
      const placed = { ...volume, name: placedName(each), replication };
      const writtenBytes = usages.get(volume.id)?.highWaterBytes ?? 0;
      return [{ ...volumeOf(placed, byVolume.get(volume.id) ?? [], localTo), writtenBytes }];
    }),
    overprovisionPercent: settings.overprovisionPercent,
  });
}

async function drivesOf(records: RecordsStore, seen: NodesSeen): Promise<Drive[]> {
  const [drives, uses, replicas, volumes, trash] = await Promise.all([
    records.everyDrive(),
    records.driveUses(),
    records.replicas(),
    records.volumes(),
    records.trash(),
  ]);
  const useOf = new Map(uses.map((use) => [use.drive, use]));
  const promised = new Map<string, number>();
  for (const { drive, sizeBytes } of [
    ...replicas,
    ...volumes,
    ...trash.map(({ volume }) => volume),
  ]) {
    promised.set(drive, (promised.get(drive) ?? 0) + sizeBytes);
  }
  return drives
    .filter(({ state }) => state === 'ready' || state === 'adopting')
    .map(({ name, node = '', sizeBytes = 0, service = 'open', state }): Drive => {
      const use = useOf.get(name);
      const faultedAtMs = use?.state === 'faulted' ? use.sinceMs : undefined;
      // One that is being adopted is about to be back.
      const downAtMs = state === 'adopting' ? Infinity : faultedAtMs;
      return {
        id: name,
        node,
        // One that was just added was not told of yet.
        capacityBytes: use === undefined ? sizeBytes : use.usedBytes + use.freeBytes,
        promisedBytes: promised.get(name) ?? 0,
        writtenBytes: use?.usedBytes ?? 0,
        load: 0,
        tags: [],
        service,
        downSinceMs: downAtMs === undefined ? undefined : seen.clockOf(downAtMs),
      };
    });
}

/** The replicas of each volume, by its id, as placement knows them. Those that are being removed are there no more. `blocked`: ids of volumes. */
async function replicasByVolume(
  records: RecordsStore,
  blocked: ReadonlySet<string>,
): Promise<Map<string, Replica[]>> {
  const sets = await records.sets();
  const byVolume = new Map<string, Replica[]>();
  for (const { id, volumeId, drive, state, isNew, isDue, leaving } of await records.replicas()) {
    if (state === 'removing') continue;
    const isMember = sets.isMember(volumeId, id);
    const replica: Replica = {
      drive,
      state: isMember ? 'synced' : isNew === true ? 'new' : 'stale',
      isRebuilding: isDue === true && !isMember,
      isBlocked: state !== 'ready' || blocked.has(volumeId),
      leaving,
    };
    const others = byVolume.get(volumeId);
    if (others === undefined) byVolume.set(volumeId, [replica]);
    else others.push(replica);
  }
  return byVolume;
}

/** A volume with its replicas, as placement knows it. */
export function volumeOf(
  { name, sizeBytes, replication, owner }: PlacedVolume,
  replicas: readonly Replica[],
  localTo?: string,
): Volume {
  const { count, spread } = replication;
  return {
    name,
    sizeBytes,
    writtenBytes: 0,
    replicaCount: count,
    minimum: defaultMinimum(count),
    spread,
    localTo,
    group: owner?.group,
    requiredTags: [],
    forbiddenTags: [],
    replicas,
  };
}

/** Drives for the replicas of a new volume, by name. Throws VOLUME_NO_PLACE, with what would help. */
export function placeNew(
  cluster: Cluster,
  volume: PlacedVolume,
  localTo?: string,
): readonly string[] {
  return refuseWithoutPlace(cluster, volumeOf(volume, [], localTo), volume);
}

/** Drives for the replicas that a volume lacks. Throws VOLUME_NO_PLACE, with what would help. */
export function refuseWithoutPlace(
  cluster: Cluster,
  planned: Volume,
  { name, replication }: Pick<PlacedVolume, 'name' | 'replication'>,
): readonly string[] {
  const { placement, noPlace } = explainPlacement(cluster, planned);
  if (placement.kind === 'placed') return placement.drives;
  throw new Refusal('VOLUME_NO_PLACE', {
    volume: name,
    replicas: replication.count,
    problem: noPlace === undefined ? '' : problemOf(noPlace),
    helps: noPlace === undefined ? '' : helpsOf(noPlace, replication).join('; or '),
  });
}

const CONSTRAINTS: Readonly<Record<NoPlace['constraint'], string>> = {
  spread: 'they are to be apart',
  holds: 'the others have a replica already',
  liveness: 'the others are away or faulted',
  service: 'the others are cordoned, drained or in maintenance',
  tags: 'the others have not the right tags',
  promised: 'the others would have promised more than the settings allow (overprovision)',
  space: 'the others would be too full',
};

/** In words: how many have a place, and what leaves too few. */
export function problemOf({ lacking, found, constraint }: NoPlace): string {
  return `${found} of ${lacking} have a place, since ${CONSTRAINTS[constraint]}`;
}

/** In words: each is enough by itself. */
export function helpsOf({ helps }: NoPlace, replication: Replication): string[] {
  return helps.map((help) => {
    switch (help.kind) {
      case 'lift':
        return `see to ${help.drives.map((drive) => `"${drive}"`).join(', ')}: ${CONSTRAINTS[help.constraint].replace('the others', 'they')}`;
      case 'soften spread':
        return `let two be in one ${replication.spread.level} (--soft-spread)`;
      case 'fewer replicas':
        return `ask for fewer (--replicas ${help.replicaCount})`;
      case 'add drives':
        return help.apart === undefined
          ? `add ${help.count} more`
          : `add ${help.count} in another ${help.apart.level}`;
    }
  });
}
