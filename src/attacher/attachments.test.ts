import assert from 'node:assert/strict';
import { test } from 'node:test';

import type { AttachSpec, AttachedDevice } from './attached-device.ts';
import { Attachments } from './attachments.ts';

const spec = (attachId: string): AttachSpec => ({
  attachId,
  uuid: 'v',
  socketPath: '/x.sock',
  sizeBytes: 4096,
});

test('a detach by force ends one that waits for I/O that stands still, and what waits behind that', async () => {
  const given = Promise.withResolvers<void>();
  const open = (of: AttachSpec): Promise<AttachedDevice> => {
    const device: Partial<AttachedDevice> = {
      kind: 'fuse-loop',
      spec: of,
      state: { kind: 'serving', sinceMs: 0 },
      giveUp: () => Promise.resolve(given.resolve()),
      detach: () => (of.attachId === 'stalled' ? given.promise : Promise.resolve()),
    };
    return Promise.resolve(device as AttachedDevice);
  };
  const attachments = new Attachments({
    kinds: ['fuse-loop'],
    inherited: [],
    open: (_, of) => open(of),
  });
  await attachments.attach(spec('stalled'), undefined);
  await attachments.attach(spec('other'), undefined);
  const inOrder = attachments.detach('stalled', { force: false });
  const other = attachments.detach('other', { force: false });
  await attachments.detach('stalled', { force: true });
  await Promise.all([inOrder, other]);
  assert.deepEqual(attachments.list(), []);
});

test('a detach by force ends an attach whose device waits for I/O that stands still', async () => {
  const attachments = new Attachments({
    kinds: ['fuse-loop'],
    inherited: [],
    open: (_, of, ending) =>
      new Promise((_resolve, reject) => {
        ending.addEventListener('abort', () => reject(new Error(`${of.attachId} is given up`)));
      }),
  });
  const attached = attachments.attach(spec('stalled'), undefined);
  // It has its turn.
  await new Promise((resolve) => setImmediate(resolve));
  const [attach, detach] = await Promise.allSettled([
    attached,
    attachments.detach('stalled', { force: true }),
  ]);
  assert.match(String(attach.status === 'rejected' && attach.reason), /stalled is given up/);
  assert.equal(detach.status, 'fulfilled');
});
