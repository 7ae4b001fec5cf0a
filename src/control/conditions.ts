/** What is not as it should be, of processes and drives: conditions with a beginning and an end, each of which is an event. */

import type { LogEvent } from '../model/log-events.ts';
import type { DriveRecord, EventRecord, Subject } from '../model/records.ts';
import type { JsonObject } from '../wire/line-protocol.ts';

/** Less than one write of the largest size may take. */
export const FULL_BYTES: number = 32 * 1024 * 1024;
/** A drive that was full is so until there is this much room, or it would be told again and again. */
const ROOM_BYTES = 2 * FULL_BYTES;

type End = { readonly end: LogEvent; readonly over: (name: string) => string };

/** By the event of a beginning: the event of its end, and the words for it. */
const ENDS = {
  'engine.away': { end: 'engine.back', over: () => 'The engine answers again' },
  'attacher.away': { end: 'attacher.back', over: () => 'The attacher answers again' },
  'drive.faulted': { end: 'drive.recovered', over: (name) => `Drive "${name}" is open again` },
  'drive.full': { end: 'drive.room', over: (name) => `Drive "${name}" has room again` },
} as const satisfies Partial<Record<LogEvent, End>>;

export type Beginning = keyof typeof ENDS;

export type Condition = {
  readonly subject: Subject;
  readonly begin: Beginning;
  readonly what: string;
  readonly cause: string | undefined;
};

/** A condition that was told and has not ended, and when it began. */
export type OpenCondition = {
  readonly subject: Subject;
  readonly begin: Beginning;
  readonly sinceMs: number;
};

export const conditionKey = (of: Pick<Condition, 'subject' | 'begin'>): string =>
  `${of.begin} ${of.subject}`;

const isBeginning = (kind: string): kind is Beginning => Object.hasOwn(ENDS, kind);

/** What is told when it is over. */
export function endOf({ subject, begin }: OpenCondition): {
  readonly kind: LogEvent;
  readonly what: string;
} {
  const { end, over } = ENDS[begin];
  return { kind: end, what: over(subject.slice(subject.indexOf('/') + 1)) };
}

/**
 * Conditions that were told and have not ended, by key. `events`: the newest first; `ofNode`: whose are asked for, since each node has an
 * engine and drives of its own. Undefined on a single machine.
 */
export function openConditions(
  events: readonly EventRecord[],
  ofNode?: string,
): Map<string, OpenCondition> {
  const open = new Map<string, OpenCondition>();
  for (const { kind, subject, atMs, node } of events.toReversed()) {
    if (kind === undefined || subject === undefined || node !== ofNode) continue;
    if (isBeginning(kind)) {
      const condition = { subject, begin: kind, sinceMs: atMs };
      open.set(conditionKey(condition), condition);
      continue;
    }
    for (const [begin, { end }] of Object.entries(ENDS)) {
      if (end === kind && isBeginning(begin)) open.delete(conditionKey({ subject, begin }));
    }
  }
  return open;
}

/** A process that does not answer. `problem`: what came of asking it. */
export function awayCondition(role: 'engine' | 'attacher', problem: string): Condition {
  return {
    subject: `process/${role}`,
    begin: `${role}.away`,
    what:
      role === 'engine'
        ? 'The engine does not answer: I/O waits for it'
        : 'The attacher does not answer: nothing is attached or detached as a device',
    cause: problem,
  };
}

/** What is not as it should be with a drive; `status` is the engine's, undefined where it does not know the drive. */
export function driveCondition(
  { name, path, state }: DriveRecord,
  status: JsonObject | undefined,
  options: { readonly wasFull: boolean },
): Condition | undefined {
  if (state !== 'ready') return undefined;
  const subject: Subject = `drive/${name}`;
  const said = status?.['state'];
  if (said !== 'open') {
    return {
      subject,
      begin: 'drive.faulted',
      what: `Drive "${name}" (${path}) is ${String(said ?? 'not open')}`,
      cause: typeof status?.['reason'] === 'string' ? status['reason'] : undefined,
    };
  }
  const free = Number(status?.['freeBytes'] ?? Infinity);
  if (free >= (options.wasFull ? ROOM_BYTES : FULL_BYTES)) return undefined;
  return {
    subject,
    begin: 'drive.full',
    what: `Drive "${name}" is full: writes to new places end in ENOSPC`,
    cause: `${free} bytes are free`,
  };
}
