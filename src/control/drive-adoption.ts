/**
 * A drive of the cluster that was moved to this node: the node becomes its owner, and that of the replicas on it, which come back with what
 * they missed. Its former owner no longer opens it: the drive has a higher generation from before it is served here (docs/cluster.md, "Drives").
 */

import { readNode } from '../env/node/node-identity.ts';
import { Refusal } from '../model/errors.ts';
import type { DriveRecord, OperationRecord, ReplicaRecord } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { ReplicaReport } from './cluster/replica-report.ts';
import { decideAgain } from './conflicts.ts';
import { FORMAT_SILENCE_MS, FORMAT_WAIT_MS } from './drive-growth.ts';
import { listDrives } from './drive-settling.ts';
import { isPassing, newOperation } from './operations.ts';
import { type ControlParts, tell } from './parts.ts';
import type { Kept } from './records-store.ts';
import { operationPuts } from './request-keys.ts';

/** Each is a condition and a put of one transaction. */
const REPLICAS_AT_ONCE = 40;

/** What lies at a path, as the engine says. */
type Found = {
  readonly driveUuid: string;
  readonly clusterUuid?: string;
  readonly generation: number;
  readonly incarnation: number;
};

/** A drive of the cluster that was found at an absolute path of this node. */
export type Moved = Pick<Found, 'generation' | 'incarnation'> & {
  readonly name: string;
  readonly at: string;
};

/** The drive at `at`. Throws DRIVE_FOREIGN where it is none of this cluster, DRIVE_BUSY and DRIVE_CORRUPT. */
export async function driveAt(
  { records, engine, installation }: ControlParts,
  at: string,
): Promise<Moved> {
  const cluster = readNode(installation.directory)?.cluster;
  if (cluster === undefined) {
    const problem = 'a node of a cluster adopts drives, and this is a single machine';
    throw new Refusal('INPUT_INVALID', { problem });
  }
  const answer = await engine.call('drive.identify', { path: at });
  const { driveUuid, clusterUuid, generation, incarnation } = answer as unknown as Found;
  const foreign = (problem: string): Refusal => new Refusal('DRIVE_FOREIGN', { path: at, problem });
  if (clusterUuid !== undefined && clusterUuid !== withoutDashes(cluster))
    throw foreign(`it is of cluster ${clusterUuid}, and this is ${withoutDashes(cluster)}`);
  const drives = await records.everyDrive();
  const found = drives.find(({ id }) => withoutDashes(id) === driveUuid);
  if (found === undefined) throw foreign(`this cluster has no drive ${driveUuid} on record`);
  return { name: found.name, at, generation, incarnation };
}

const withoutDashes = (id: string): string => id.replaceAll('-', '');

/**
 * Records that the drive is this node's. Throws DRIVE_HELD where its owner lives and has it open, DRIVE_COPY, DRIVE_NOT_READY, and
 * STORE_CONFLICT.
 */
export async function wantAdoption(parts: ControlParts, moved: Moved): Promise<OperationRecord> {
  const { records, node = '' } = parts;
  const { name, at, incarnation } = moved;
  const kept = await records.drive(name);
  const state = kept?.record.state ?? 'removed';
  // Who began to adopt it may have died over that.
  if (kept === undefined || !['ready', 'adopting'].includes(state))
    throw new Refusal('DRIVE_NOT_READY', { drive: name, state });
  const { record, version } = kept;
  const use = await records.driveUse(name);
  if (incarnation < (use?.record.incarnation ?? 0))
    throw new Refusal('DRIVE_COPY', { path: at, drive: name });
  const owner = record.node ?? '';
  const isAway = owner !== node && (await records.alive()).every((each) => each.node !== owner);
  const isOpen = owner === node ? await isOpenHere(parts, record) : use?.record.state !== 'faulted';
  if (!isAway && isOpen) throw new Refusal('DRIVE_HELD', { path: at, drive: name, node: owner });
  const key = `drive/${name}`;
  const operation = newOperation(parts, 'drive.adopt', key);
  await records.change({
    conditions: [
      { key, version },
      // What it says of the drive from now on, or that it is back, conflicts.
      { key: `drive-use/${name}`, version: use?.version ?? 0 },
      ...(isAway ? [{ key: `alive/${owner}`, version: 0 }] : []),
    ],
    puts: [{ key, record: adopted(record, node, moved) }, ...operationPuts(operation)],
    deletes: use === undefined ? [] : [`drive-use/${name}`],
  });
  return operation;
}

async function isOpenHere({ engine }: ControlParts, { id }: DriveRecord): Promise<boolean> {
  const { drives } = await engine.call('drive.list', {});
  const status = (drives as readonly JsonObject[]).find(({ driveId }) => driveId === id);
  return status !== undefined && status['state'] !== 'faulted';
}

const adopted = (
  drive: DriveRecord,
  node: string,
  { at, generation }: Pick<Moved, 'at' | 'generation'>,
): DriveRecord => ({
  ...drive,
  node,
  path: at,
  made: false,
  madeBy: undefined,
  replaces: undefined,
  state: 'adopting',
  // Records that were restored from a backup may know a lower one.
  generation: Math.max(drive.generation ?? 0, generation) + 1,
});

/** Makes the replicas this node's, and serves them; may be called again after a crash at any point. Throws STORE_CONFLICT. */
export async function settleAdoption(
  parts: ControlParts,
  { record, version }: Kept<DriveRecord>,
): Promise<void> {
  const { records, engine, progress, node = '' } = parts;
  const { name, id: driveId, path: at, generation = 0 } = record;
  progress.show(`drive/${name}`, 'opening it');
  const bounds = { waitMs: FORMAT_WAIT_MS, silenceMs: FORMAT_SILENCE_MS };
  const failure = await engine
    .call('drive.open', { driveId, path: at, generation }, bounds)
    .then(() => undefined)
    .catch((error: unknown) => {
      if (isPassing(error) || !(error instanceof Error)) throw error;
      return error;
    });
  parts.onStep('drive.adopt: opened');
  // Not before: one that is to be erased would be looked for in vain.
  await takeReplicas(parts, record);
  parts.onStep('drive.adopt: replicas are of this node');
  // One that does not open is this node's all the same: its next start tries again.
  await records.putDrive({ ...record, state: 'ready' }, version);
  await listDrives(parts);
  if (failure !== undefined) throw failure;
  await new ReplicaReport(parts, node).run();
  await tell(parts, 'drive.adopted', {
    subject: `drive/${name}`,
    what: `Drive "${name}" at "${at}" is of node "${node}" now, with its replicas`,
  });
}

async function takeReplicas(
  { records, node = '' }: ControlParts,
  { name }: DriveRecord,
): Promise<void> {
  const isTaken = (replica: ReplicaRecord): boolean => replica.node === node;
  const left = (await records.replicasNow()).filter(
    (replica) => replica.drive === name && !isTaken(replica),
  );
  for (let at = 0; at < left.length; at += REPLICAS_AT_ONCE) {
    const ids = left.slice(at, at + REPLICAS_AT_ONCE).map(({ id }) => id);
    await decideAgain(async () => {
      const kept = await Promise.all(ids.map((id) => records.replica(id)));
      const keyed = kept.flatMap((each) =>
        each === undefined || isTaken(each.record)
          ? []
          : [{ key: `replica/${each.record.id}`, ...each }],
      );
      await records.change({
        conditions: keyed.map(({ key, version }) => ({ key, version })),
        puts: keyed.map(({ key, record }) => ({ key, record: { ...record, node } })),
      });
    });
  }
}
