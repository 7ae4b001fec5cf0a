/** Whether S can stay as it is (docs/replication.md, "Changes of S"). */

import type { Head } from './head.ts';
import { type Record, type ReplicaId, fewest, isNewer, withMembers } from './record.ts';

/**
 * The record that the store has, as somebody was told of it who is no replica. A head that is cut off from all of these hears of its end
 * no other way: while it is the head nobody else writes a newer one.
 */
export function reviewRecord(head: Head, record: Record): void {
  const { known, pending } = head.changer;
  if (isNewer(record, known) && record.writer !== pending?.writer) head.end('overtaken');
}

/** Of a head that serves: S is shrunk to the members that are sound; too few are: I/O stands still, or sessions are made anew. */
export function reviewMembers(head: Head): void {
  const { known } = head.changer;
  const now = head.host.now();
  const sound: ReplicaId[] = [];
  let lost = 0;
  let damaged = 0;
  let failed = 0;
  for (const replica of known.members.keys()) {
    const member = head.members.find(replica);
    if (member?.damaged === true) damaged++;
    else if (member?.failed === true) failed++;
    else if (member === undefined || member.isGone(now)) lost++;
    else sound.push(replica);
  }
  const least = fewest(known);
  if (lost > 0 && damaged + failed === 0 && sound.length < least) {
    head.stall(`${sound.length} of at least ${least} in-sync replicas are reached`);
    return;
  }
  head.stalled = undefined;
  if (lost + damaged + failed === 0) return;
  if (sound.length >= least) shrink(head, sound);
  // What a member failed is made equal with the others by that, as all else that is marked.
  else head.reopen();
}

function shrink(head: Head, replicas: readonly ReplicaId[]): void {
  const { known } = head.changer;
  head.transact(withMembers(known, replicas, { writer: head.host.newWriter() }), () => {
    tellLost(head, 'member lost', { before: known, now: replicas });
    head.outgrow(known.members.keys());
  });
}

/** Of each member that is not in S any more, with the cause. */
export function tellLost(
  { host, members }: Head,
  event: 'member lost' | 'member left out',
  { before, now }: { readonly before: Record; readonly now: readonly ReplicaId[] },
): void {
  for (const replica of before.members.keys()) {
    if (now.includes(replica)) continue;
    const cause = members.find(replica)?.lossCause ?? 'never reached';
    host.onEvent(event, { replica, cause });
  }
}
