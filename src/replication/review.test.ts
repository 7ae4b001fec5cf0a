import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventAbout } from './head-host.ts';
import type { Head } from './head.ts';
import { Members } from './members.ts';
import type { Answer } from './messages.ts';
import type { Record } from './record.ts';
import { reviewMembers, tellLost } from './review.ts';

const RECORD: Record = {
  lineage: 1,
  epoch: 2,
  writer: 'attached',
  head: undefined,
  attachment: { attachId: 'a1', boot: 'b' },
  members: new Map(['r0', 'r1', 'r2', 'r3', 'r4'].map((id) => [id, 1])),
  minimum: 1,
  sizeBytes: 65_536,
};

test('of each member that is lost the cause is told', () => {
  let nowMs = 0;
  const members = new Members(
    { engine: 'e0', start: 1, attempt: 1 },
    {
      now: () => nowMs,
      send: () => undefined,
      connect: () => undefined,
      onOpened: () => undefined,
      onClosed: () => undefined,
    },
  );
  for (const replica of RECORD.members.keys()) {
    const member = members.add(replica);
    if (replica === 'r4') continue;
    members.onConnected(replica, RECORD);
    members.onAnswer(member, { kind: 'open', life: 1, base: undefined } as unknown as Answer);
  }
  members.onUnreachable('r0', false);
  members.onUnreachable('r4', true);
  members.suspect(members.at(4), 'oldest request too old');
  for (let tick = 0; tick < 3; tick++, nowMs += 1501) members.tick();
  const told: (EventAbout | undefined)[] = [];
  const host = { onEvent: (_: string, about?: EventAbout) => told.push(about) };
  const head = { host, members } as unknown as Head;
  tellLost(head, 'member lost', { before: RECORD, now: ['r3'] });
  assert.deepEqual(told, [
    { replica: 'r0', cause: 'connection closed' },
    { replica: 'r1', cause: 'silent' },
    { replica: 'r2', cause: 'oldest request too old' },
    { replica: 'r4', cause: 'connection refused' },
  ]);
});

test('a member that failed a change is opened anew where S cannot do without it', () => {
  const told: string[] = [];
  const members = ['r0', 'r1'].map((replica) => ({
    replica,
    failed: false,
    gone: false,
    isGone(): boolean {
      return this.gone;
    },
  }));
  const head = {
    changer: {
      known: {
        ...RECORD,
        members: new Map([
          ['r0', 1],
          ['r1', 1],
        ]),
        minimum: 2,
      },
    },
    members: { find: (id: string) => members.find(({ replica }) => replica === id) },
    host: { now: () => 0 },
    stall: (reason: string) => told.push(reason),
    reopen: () => told.push('reopened'),
  };
  reviewMembers(head as unknown as Head);
  assert.deepEqual(told, []);
  members[1]!.failed = true;
  reviewMembers(head as unknown as Head);
  assert.deepEqual(told, ['reopened']);
  members[1]!.failed = false;
  members[1]!.gone = true;
  reviewMembers(head as unknown as Head);
  assert.match(told[1]!, /^1 of at least 2/);
});
