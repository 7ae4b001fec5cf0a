/**
 * Operations: a change that takes more than one step is first recorded as wanted, together with its operation, in one transaction. Then
 * it is driven to its end by the target's `settle`, which any later process can call again. The operation's record tells how it went.
 */

import { type ErrorCode, Fault, Refusal } from '../model/errors.ts';
import type { OperationRecord } from '../model/records.ts';
import type { ControlParts } from './parts.ts';
import { currentRequest } from './request-context.ts';

/** Errors after which the wanted change stays wanted: it goes on when the other process is back. */
const PASSING: readonly ErrorCode[] = [
  'ENGINE_UNREACHABLE',
  'ATTACHER_UNREACHABLE',
  'INSTALLATION_STOPPING',
  'NODES_UNREPORTED',
  'DRIVE_DRAINING',
];

/** Whether trying again later may succeed: the operation then stays open. */
export function isPassing(error: unknown): boolean {
  return error instanceof Refusal && PASSING.includes(error.code);
}

/** An operation that begins now, for the transaction that records what is wanted. */
export function newOperation(parts: ControlParts, kind: string, target: string): OperationRecord {
  const request = currentRequest()?.fingerprint;
  return {
    id: parts.newId(),
    kind,
    target,
    state: 'running',
    startedAtMs: parts.wallMs(),
    endedAtMs: undefined,
    error: undefined,
    ...(request === undefined ? {} : { request }),
    ...(parts.node === undefined ? {} : { node: parts.node }),
  };
}

/** An operation that one transaction carries out, and that has ended with it. */
export function endedOperation(parts: ControlParts, kind: string, target: string): OperationRecord {
  const operation = newOperation(parts, kind, target);
  return { ...operation, state: 'done', endedAtMs: operation.startedAtMs };
}

/**
 * Runs `settle` for an operation that is recorded, and records how it ended. Throws what `settle` throws. After a passing error the
 * operation goes on running: the reconciler ends it.
 */
export async function runOperation(
  parts: ControlParts,
  operation: OperationRecord,
  settle: () => Promise<void>,
): Promise<void> {
  parts.progress.begin(operation);
  currentRequest()?.onBegun(operation);
  try {
    parts.onStep(`${operation.kind}: recorded`);
    await settle();
    await end(parts, operation, undefined);
  } catch (error) {
    if (isPassing(error)) parts.askReconcile();
    else await end(parts, operation, error);
    throw error;
  } finally {
    parts.progress.end(operation);
  }
}

async function end(parts: ControlParts, operation: OperationRecord, error: unknown): Promise<void> {
  const record: OperationRecord = {
    ...operation,
    state: error === undefined ? 'done' : 'failed',
    endedAtMs: parts.wallMs(),
    error: error === undefined ? undefined : describe(error),
  };
  await parts.records.putEnded(record);
}

/** Operations of a dead process, once their targets are settled: what the target has become tells how each of them went. */
export async function endInterrupted(
  parts: ControlParts,
  failures: ReadonlyMap<string, unknown>,
): Promise<void> {
  for (const operation of await parts.records.operations()) {
    if (operation.node !== parts.node) continue;
    if (operation.state !== 'running' || parts.progress.isUnderWay(operation.id)) continue;
    const failure = failureOf(operation, failures);
    if (isPassing(failure)) continue;
    await end(parts, operation, failure ?? (await howItEnded(parts, operation)));
  }
}

/** Operations of a node that is gone for good: whoever goes on with their targets has operations of its own. */
export async function endOperationsOf(parts: ControlParts, node: string): Promise<void> {
  for (const operation of await parts.records.operations()) {
    if (operation.node !== node || operation.state !== 'running') continue;
    await end(
      parts,
      operation,
      new Refusal('OPERATION_INTERRUPTED', { operation: operation.kind }),
    );
  }
}

/** The error of an operation that nothing is wanted of any more; undefined: it was carried out. */
async function howItEnded(parts: ControlParts, operation: OperationRecord): Promise<unknown> {
  const { kind } = operation;
  // It leaves nothing to tell it by, and does no harm where it is done once more.
  if (kind === 'volume.trim') return new Refusal('OPERATION_INTERRUPTED', { operation: kind });
  if (await isReached(parts, operation)) return undefined;
  return new Fault('OPERATION_UNDONE', { operation: kind });
}

/** Why what it wants could not be done just now; emptying the trash wants something of all that is in it. */
function failureOf(
  { kind, target }: OperationRecord,
  failures: ReadonlyMap<string, unknown>,
): unknown {
  if (kind !== 'trash.empty') return failures.get(target);
  const ofTrash = [...failures.keys()].filter((subject) => subject.startsWith('trash/'));
  const all = ofTrash.map((subject) => failures.get(subject));
  return all.find(isPassing) ?? all[0];
}

/** Whether the target is what the operation wanted: if not, it was refused and undone, and control died before it wrote so. */
async function isReached(
  parts: ControlParts,
  { kind, target, sizeBytes = 0 }: OperationRecord,
): Promise<boolean> {
  const name = target.slice(target.indexOf('/') + 1);
  const drive = (await parts.records.drive(name))?.record;
  const volume = (await parts.records.volume(name))?.record;
  switch (kind) {
    case 'drive.add':
    case 'drive.adopt':
      return drive?.state === 'ready';
    case 'drive.grow':
      return drive !== undefined && (drive.sizeBytes ?? 0) >= sizeBytes;
    case 'drive.replace':
      return drive?.replaces !== undefined && !(await parts.records.isThere(drive.replaces));
    case 'drive.remove':
      return drive === undefined;
    case 'volume.create':
      return volume?.state === 'ready';
    case 'volume.remove':
      return volume === undefined;
    case 'trash.purge':
      return (await parts.records.trashed(name)) === undefined;
    case 'volume.attach':
      return volume?.attachment?.state === 'attached';
    case 'volume.detach':
      return volume?.attachment === undefined;
    case 'volume.mount':
      return volume?.mount?.state === 'mounted';
    case 'volume.unmount':
      return volume?.mount === undefined;
    case 'volume.resize':
      return volume !== undefined && volume.sizeBytes >= sizeBytes;
    default:
      return true;
  }
}

function describe(error: unknown): NonNullable<OperationRecord['error']> {
  if (error instanceof Refusal || error instanceof Fault) {
    const { code, message, wayOut } = error;
    return { code, message, ...(wayOut === undefined ? {} : { wayOut }) };
  }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}
