/** Whether S can stay as it is (docs/replication.md, "Changes of S"). */

import type { Head } from './head.ts';
import { type ReplicaId, fewest, withMembers } from './record.ts';

/** Of a head that serves: S is shrunk to the members that are sound; too few are: I/O stands still, or sessions are made anew. */
export function reviewMembers(head: Head): void {
  const { known } = head.changer;
  const now = head.host.now();
  const sound: ReplicaId[] = [];
  let lost = 0;
  let damaged = 0;
  for (const replica of known.members.keys()) {
    const member = head.members.find(replica);
    if (member?.damaged === true) damaged++;
    else if (member === undefined || member.failed || member.isGone(now)) lost++;
    else sound.push(replica);
  }
  const least = fewest(known);
  if (lost > 0 && damaged === 0 && sound.length < least) {
    head.stall(`${sound.length} of at least ${least} in-sync replicas are reached`);
    return;
  }
  head.stalled = undefined;
  if (lost + damaged === 0) return;
  if (sound.length >= least) shrink(head, sound);
  else head.reopen();
}

function shrink(head: Head, replicas: readonly ReplicaId[]): void {
  const { known } = head.changer;
  head.transact(withMembers(known, replicas, { writer: head.host.newWriter() }), () => {
    head.host.onEvent('member lost');
    head.outgrow(known.members.keys());
  });
}
