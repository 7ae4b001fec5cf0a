/**
 * Operations: a change that takes more than one step is first recorded as wanted, together with its operation, in one transaction. Then
 * it is driven to its end by the target's `settle`, which any later process can call again. The operation's record tells how it went.
 */

import { type ErrorCode, Fault, Refusal } from '../model/errors.ts';
import type { OperationRecord } from '../model/records.ts';
import type { ControlParts } from './parts.ts';

/** Errors after which the wanted change stays wanted: it goes on when the other process is back. */
const PASSING: readonly ErrorCode[] = [
  'ENGINE_UNREACHABLE',
  'ATTACHER_UNREACHABLE',
  'INSTALLATION_STOPPING',
];

export function isPassing(error: unknown): boolean {
  return error instanceof Refusal && PASSING.includes(error.code);
}

/** An operation that begins now, for the transaction that records what is wanted. */
export function newOperation(parts: ControlParts, kind: string, target: string): OperationRecord {
  return {
    id: parts.newId(),
    kind,
    target,
    state: 'running',
    startedAtMs: parts.wallMs(),
    endedAtMs: undefined,
    error: undefined,
  };
}

/** Runs `settle` for an operation that is recorded, and records how it ended. Throws what `settle` throws. */
export async function runOperation(
  parts: ControlParts,
  operation: OperationRecord,
  settle: () => Promise<void>,
): Promise<void> {
  try {
    parts.onStep(`${operation.kind}: recorded`);
    await settle();
    await end(parts, operation, undefined);
  } catch (error) {
    if (!isPassing(error)) await end(parts, operation, error);
    throw error;
  }
}

async function end(parts: ControlParts, operation: OperationRecord, error: unknown): Promise<void> {
  const record: OperationRecord = {
    ...operation,
    state: error === undefined ? 'done' : 'failed',
    endedAtMs: parts.wallMs(),
    error: error === undefined ? undefined : describe(error),
  };
  await parts.records.change({ puts: [{ key: `operation/${operation.id}`, record }] });
}

/** Operations of a dead process, once their targets are settled: nothing tells any more how each of them went. */
export async function endInterrupted(
  parts: ControlParts,
  failures: ReadonlyMap<string, unknown>,
): Promise<void> {
  for (const operation of await parts.records.operations()) {
    if (operation.state !== 'running') continue;
    const failure = failures.get(operation.target);
    if (!isPassing(failure)) await end(parts, operation, failure);
  }
}

function describe(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof Refusal || error instanceof Fault) {
    return { code: error.code, message: error.message };
  }
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}
