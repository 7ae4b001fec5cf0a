/** Why a volume with replicas is not as it should be: the findings of `explain.ts` that are about them. */

import type { Finding, VolumeFacts } from './explain.ts';

type ReplicaStatus = {
  readonly node: string;
  readonly drive: string;
  readonly state: string;
};

/** What stops I/O first; none for a volume on one drive of a single machine. */
export function replicaFindings({ volume, volumeStatus }: VolumeFacts): Finding[] {
  if (volume.replication === undefined || volumeStatus === undefined) return [];
  const replicas = (volumeStatus['replicas'] ?? []) as readonly ReplicaStatus[];
  const { reason } = volumeStatus;
  const lacking = replicas.filter(({ state }) =>
    ['stale', 'rebuilding', 'faulted'].includes(state),
  );
  const places = lacking
    .map(({ node, drive }) => `on node "${node}" (drive "${drive}")`)
    .join(', ');
  const stalled: Finding[] =
    typeof reason !== 'string'
      ? []
      : [
          {
            kind: 'volume.stalled',
            chain: [
              `All I/O of volume "${volume.name}" waits; nothing of it fails or is lost`,
              reason,
              ...(lacking.length === 0 ? [] : [`its replicas ${places} lack writes`]),
            ],
            sinceMs: undefined,
            ends: `It goes on by itself as soon as enough of the nodes with its replicas answer (holdfast node ls). To give up what was not flushed instead: holdfast volume detach ${volume.name} --force`,
          },
        ];
  return [...stalled, ...lacking.map((replica) => lackingFinding(volume.name, replica, replicas))];
}

function lackingFinding(
  volume: string,
  { node, drive, state }: ReplicaStatus,
  replicas: readonly ReplicaStatus[],
): Finding {
  const synced = replicas.filter((each) => each.state === 'synced').length;
  const seen = `Volume "${volume}" has ${synced} of ${replicas.length} replicas that hold all that was acknowledged`;
  const at = `that on node "${node}" (drive "${drive}")`;
  switch (state) {
    case 'rebuilding':
      return {
        kind: 'replica.rebuilding',
        chain: [seen, `${at} is being rebuilt`],
        sinceMs: undefined,
        ends: 'It ends by itself',
      };
    case 'faulted':
      return {
        kind: 'replica.faulted',
        chain: [seen, `${at} is on a drive that failed`],
        sinceMs: undefined,
        ends: `Another takes its place after ten minutes, where there is room (holdfast explain placement ${volume}); see to the drive (holdfast drive ls)`,
      };
    default:
      return {
        kind: 'replica.stale',
        chain: [seen, `${at} was away, or failed, and lacks what was written since`],
        sinceMs: undefined,
        ends: `Once node "${node}" and its drive are back it is rebuilt by itself`,
      };
  }
}
