/** Records that are kept for a while: operations that ended, events, and the answers to requests with idempotency keys. */

import type { EventRecord, OperationRecord, RequestRecord } from '../model/records.ts';

/** Operations and events kept: the newest. */
const KEPT_MAX = 500;
/** How long the answer to a request with an idempotency key is kept. */
export const REQUEST_KEPT_MS: number = 24 * 3_600_000;
/** Dates that are further ahead are of a clock that was wrong. Nodes' clocks may differ by days. */
const AHEAD_MS = 30 * 24 * 3_600_000;

/**
 * The keys of all but the newest operations that ended, the newest events, and the requests of a day. Of a request whose answer died with
 * its control the operation is kept: without it the same request would be carried out again. Operations and events of a clock that was far
 * ahead, and has been put right, go first.
 */
export function expiredKeys(
  {
    requests,
    operations,
    events,
  }: {
    readonly requests: readonly RequestRecord[];
    readonly operations: readonly OperationRecord[];
    readonly events: readonly EventRecord[];
  },
  nowMs: number,
): readonly string[] {
  const ageOf = (atMs: number): number => (atMs > nowMs + AHEAD_MS ? Infinity : nowMs - atMs);
  const isOld = ({ atMs }: RequestRecord): boolean => atMs < nowMs - REQUEST_KEPT_MS;
  const unanswered = requests.filter((each) => !isOld(each) && each.answer === undefined);
  const asked = new Set(unanswered.map(({ operationId }) => operationId));
  const ended = operations.filter(({ id, state }) => state !== 'running' && !asked.has(id));
  return [
    ...requests.filter(isOld).map(({ key }) => `request/${key}`),
    ...beyondNewest(ended, ({ startedAtMs }) => ageOf(startedAtMs)).map(
      ({ id }) => `operation/${id}`,
    ),
    ...beyondNewest(events, ({ atMs }) => ageOf(atMs)).map(({ id }) => `event/${id}`),
  ];
}

function beyondNewest<R>(records: readonly R[], ageOf: (record: R) => number): readonly R[] {
  const ages = records.map((record) => ({ record, age: ageOf(record) }));
  // Ages may be infinite, whose difference is no number.
  const sorted = ages.toSorted((a, b) => (a.age < b.age ? -1 : a.age > b.age ? 1 : 0));
  return sorted.slice(KEPT_MAX).map(({ record }) => record);
}
