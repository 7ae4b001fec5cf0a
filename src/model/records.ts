/**
 * What control keeps in the cluster store. Keys: drive/NAME, volume/NAME, trash/VOLUME ID, usage/VOLUME ID, operation/ID, request/KEY,
 * event/ID, plugin/NAME, settings/installation; in a cluster also node/NAME, alive/NAME, join/ID, drive-use/NAME, replica/ID, set/VOLUME ID, scrub/VOLUME ID (docs/cluster.md)
 */

import type { LogEvent } from './log-events.ts';

/** A node of a cluster. */
export type NodeRecord = {
  readonly name: string;
  readonly labels: NodeLabels;
  /** Those that its node.json had when its control started last. */
  readonly fileLabels?: NodeLabels;
  /** What an operator wants of it: docs/placement.md, "Words". */
  readonly service: 'open' | 'cordoned' | 'draining' | 'maintenance';
  /** Where its engine listens for others. */
  readonly peer: { readonly host: string; readonly port: number };
  /** Where its control takes joins: it has the key of the cluster's authority. */
  readonly join?: { readonly host: string; readonly port: number };
  /** Its installation there, as the kernel names it. Records of the first development versions lack it. */
  readonly directory?: string;
  /** The run of its machine in which its control started last. */
  readonly bootId: string;
  /** Its engine as control saw it last: a process names itself anew with each start, and each of those has a number, from 1. */
  readonly engine: { readonly instance: string; readonly start: number };
  readonly createdAtMs: number;
};

/** A token with which one machine becomes a node, until it has ended. */
export type JoinRecord = {
  /** The first 32 hex digits of the SHA-256 of its secret, which is nowhere on record. */
  readonly id: string;
  readonly createdAtMs: number;
  readonly endsAtMs: number;
  /** The node that it made, and its public key in PEM: the same request again gets the same answer. */
  readonly used?: { readonly node: string; readonly publicKey: string; readonly atMs: number };
};

/** Empty: not labelled. */
export type NodeLabels = {
  readonly region: string;
  readonly zone: string;
  readonly rack: string;
};

/** Says that a node lives: under a lease that its control renews. */
export type AliveRecord = { readonly node: string; readonly bootId: string };

/** A full copy of a volume on a drive of a node, which alone acts on it. */
export type ReplicaRecord = {
  /** 32 hex digits, never used again for another. */
  readonly id: string;
  readonly volume: string;
  readonly volumeId: string;
  readonly node: string;
  readonly drive: string;
  readonly sizeBytes: number;
  readonly state: 'creating' | 'ready' | 'removing';
  /** Of its drive, as it was made: the life with which it is a member of the first set. */
  readonly life?: number;
  /** It is to go, once enough others are synced: it is wanted elsewhere, or was missing and another has its place. */
  readonly leaving?: 'moved' | 'replaced' | undefined;
  /** It was added, and has never been synced yet. */
  readonly isNew?: boolean;
  /** It is its turn to be made equal: docs/placement.md, "One budget". */
  readonly isDue?: boolean;
  /** Why it could not be made. */
  readonly error?: { readonly code: string; readonly message: string };
};

/** The last walk over a volume that compared all its copies, or the one under way. */
export type ScrubRecord = {
  readonly volumeId: string;
  readonly startedAtMs: number;
  /** All before it was compared. */
  readonly offsetBytes: number;
  readonly endedAtMs?: number;
};

/** What a volume with several replicas wants of them. */
export type Replication = {
  /** 1 to 5. */
  readonly count: number;
  /** Never two in one domain of the level, or as few as possible. */
  readonly spread: { readonly level: 'zone' | 'rack' | 'node'; readonly isHard: boolean };
  /** One is to be beside its consumer. */
  readonly local: boolean;
};

/** What an operator wants of a drive of a cluster: docs/placement.md, "Words". */
export type DriveService = 'open' | 'cordoned' | 'draining';

export type DriveRecord = {
  readonly name: string;
  /** Names the drive to the engine. A UUID. */
  readonly id: string;
  /** Whose drive it is; undefined on a single machine. */
  readonly node?: string;
  readonly path: string;
  /** Holdfast made the file, and removes it with the drive. */
  readonly made: boolean;
  /** Of the file of the records when it was made: a copy of them has another. Records of the first development versions lack it. */
  readonly madeBy?: number | undefined;
  readonly sparse: boolean;
  readonly force: boolean;
  /** Undefined: as large as the file or device is. */
  readonly sizeBytes: number | undefined;
  readonly state: 'adding' | 'adopting' | 'ready' | 'removing';
  /** How often another node adopted it; undefined: never. */
  readonly generation?: number;
  /** Undefined: open. */
  readonly service?: DriveService;
  /** The drive in whose place it was added, which goes as soon as the replicas that it had have left it. */
  readonly replaces?:
    | { readonly name: string; readonly id: string; readonly replicas: number }
    | undefined;
  readonly createdAtMs: number;
  /** Growth under way. */
  readonly growToBytes?: number | undefined;
};

/** How a drive of a cluster is, as its node told last. */
export type DriveUseRecord = {
  readonly drive: string;
  readonly node: string;
  /** `faulted`: its engine has it not open for changes. `sinceMs`: since when it is so. */
  readonly state: 'open' | 'faulted';
  readonly sinceMs: number;
  /** How often it was opened. */
  readonly incarnation?: number;
  /** Together what volumes can take of it. */
  readonly usedBytes: number;
  readonly freeBytes: number;
};

export type VolumeRecord = {
  readonly name: string;
  /** Its uuid: on its drive, or in the set of its replicas. */
  readonly id: string;
  /** Empty where it has `replication`: each of its replicas has a drive. */
  readonly drive: string;
  readonly replication?: Replication;
  /** The node that settles it while it is not attached: docs/cluster.md, "Who settles a volume". */
  readonly settledBy?: string;
  readonly sizeBytes: number;
  readonly state: 'creating' | 'ready' | 'removing';
  readonly createdAtMs: number;
  /** The epoch of the last attachment. */
  readonly epoch: number;
  readonly attachment: AttachmentRecord | undefined;
  readonly mount: MountRecord | undefined;
  /** A resize under way. */
  readonly resizeToBytes: number | undefined;
  /** What is said of the volume anew as soon as it has that size. */
  readonly describeAs?: VolumeDescription | undefined;
  // Records of the first development versions lack the rest.
  readonly autoGrow?: AutoGrow | undefined;
  readonly owner?: Owner;
  readonly labels?: Labels;
  /** The program that asked for it, as it named itself. */
  readonly createdBy?: string;
  /** The volume plugin through which it was made: no other removes it. */
  readonly plugin?: string;
  /** What it holds or, before its first mount, what it is to hold; undefined: nobody said. */
  readonly fsType?: 'ext4' | 'xfs';
  /** It was mounted once: where no file system is found on it, one is lost. */
  readonly wasMounted?: boolean;
  /** When it was attached last; of one that was detached since, when that was. */
  readonly lastAttachedAtMs?: number;
};

/** What is said of a volume anew; undefined: that stays as it is. */
export type VolumeDescription = {
  readonly owner?: Owner | undefined;
  readonly labels?: Labels | undefined;
  /** Null: it no longer grows by itself. */
  readonly autoGrow?: AutoGrow | null | undefined;
};

/** The node that does what is wanted of a volume; undefined on a single machine. */
export const settlerOf = ({ attachment, settledBy }: VolumeRecord): string | undefined =>
  attachment?.node ?? settledBy;

/** Whether a volume was attached or mounted, is to be so still, and is not. */
export const isLost = ({ attachment, mount }: VolumeRecord): boolean =>
  attachment?.state === 'reattaching' || mount?.state === 'remounting';

/** A volume that grows by a step whenever it is nearly full, up to a ceiling. */
export type AutoGrow = { readonly stepBytes: number; readonly ceilingBytes: number };

/** A volume that was removed and can still be restored. It holds its space until it is purged. */
export type TrashRecord = {
  /** As it was when it was removed. */
  readonly volume: VolumeRecord;
  readonly state: 'kept' | 'purging';
  readonly removedAtMs: number;
  readonly purgeAtMs: number;
  /** The operation that empties the trash of it: from when that is recorded. */
  readonly emptying?: string | undefined;
};

/** A volume that was removed while its drive was away, which has it still: it is deleted from that when it is back. */
export type GoneRecord = { readonly volumeId: string; readonly driveId: string };

/** Whose a volume is, in the words of the platform that it was made for. */
export type Owner = { readonly tenant?: string | undefined; readonly group?: string | undefined };

export type Labels = Readonly<Record<string, string>>;

/** How a volume is used: looked at once a minute, and kept apart from what is wanted of it. */
export type UsageRecord = {
  readonly volumeId: string;
  /** Not before the minute it is rounded up to; undefined: nothing was written yet. */
  readonly lastWrittenAtMs: number | undefined;
  /** The most space that it was seen to take. */
  readonly highWaterBytes: number;
  /** What the engine had counted at the last look, and since when it counts. */
  readonly changes: number;
  readonly countedSinceMs: number;
};

export type AttachmentRecord = {
  /** 32 hex digits; also the NBD export's name. */
  readonly attachId: string;
  /** Where it is; undefined on a single machine. */
  readonly node?: string;
  /** nbd: the socket alone; device: a block device through the attacher as well. */
  readonly wanted: 'nbd' | 'device';
  /** An operator has it served from the replica on its node, whatever that lacks: for its first start. */
  readonly acceptLoss?: boolean;
  /** `reattaching`: it was attached, is wanted still, and its device is gone. */
  readonly state: 'attaching' | 'attached' | 'reattaching' | 'detaching';
  /** Kept as its name alone: where it is, the installation knows. */
  readonly socketPath: string | undefined;
  readonly device: string | undefined;
};

export type MountRecord = {
  readonly path: string;
  readonly fsType: 'ext4' | 'xfs';
  /** The file system is to be made, whatever the volume holds: somebody said so, or it was blank. */
  readonly force: boolean;
  /** Who asked for the mount said so. */
  readonly wasForced?: boolean;
  /** `remounting`: it was mounted, is wanted still, and is not there. */
  readonly state: 'mounting' | 'mounted' | 'remounting' | 'unmounting';
  /** The mount attached the volume, and an unmount detaches it. */
  readonly attached: boolean;
  /** The volume has grown, and its mounted file system was not allowed to follow. */
  readonly growsAtNextMount?: boolean;
  /** Who asked for it and did not end it yet: `api`, or PLUGIN/ID of a container engine's mount. Undefined: `api` alone. */
  readonly holders?: readonly string[];
  /** In which run of the machine they asked. Containers of an earlier one are gone, and say no word of it. */
  readonly bootId?: string;
};

/** A socket on which control speaks the Docker volume plugin protocol: NAME.sock, where Docker looks for plugins. */
export type PluginRecord = { readonly name: string };

export type OperationRecord = {
  readonly id: string;
  /** For example `volume.create`. */
  readonly kind: string;
  /** The key of the record that it changes. */
  readonly target: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly startedAtMs: number;
  readonly endedAtMs: number | undefined;
  readonly error:
    | { readonly code: string; readonly message: string; readonly wayOut?: string }
    | undefined;
  /** The fingerprint of the request that began it. */
  readonly request?: string;
  /** The node that carries it out; undefined on a single machine. */
  readonly node?: string;
  /** Of a resize: what the volume is to have. */
  readonly sizeBytes?: number;
  /** Of emptying the trash: how many volumes it removes. */
  readonly count?: number;
};

/** A request that came with an idempotency key. */
export type RequestRecord = {
  readonly key: string;
  readonly fingerprint: string;
  readonly atMs: number;
  /** The operation that carries it out. */
  readonly operationId: string | undefined;
  readonly answer: { readonly status: number; readonly body: string } | undefined;
};

/** Something that happened by itself and that people should hear of. */
export type EventRecord = {
  readonly id: string;
  readonly atMs: number;
  /** What happened, in a sentence, and why, as far as it is known. */
  readonly what: string;
  readonly cause?: string | undefined;
  // Records of the first development versions lack these.
  readonly kind?: LogEvent;
  readonly subject?: Subject;
  /** Whose control tells it; undefined on a single machine. */
  readonly node?: string;
};

/** What an event is about. */
export type Subject = `${'volume' | 'drive' | 'trash' | 'process' | 'plugin'}/${string}`;
