import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';

import { memoryRecords } from '../../../test/rigs/memory-records.ts';
import { readMounts } from '../../attacher/mount-table.ts';
import { Refusal } from '../../model/errors.ts';
import type { JsonObject } from '../../wire/line-protocol.ts';
import type { ControlParts } from '../parts.ts';
import { clearLeft, clearOvertaken } from './overtaken.ts';

const set = (attachId: string) => ({
  lineage: 1,
  epoch: 5,
  writer: 'e'.repeat(32),
  members: [['b'.repeat(32), 1]],
  minimum: 1,
  sizeBytes: 4096,
  attachment: { attachId, boot: 'boot' },
});

/** Which devices are detached, of volumes v1 and so on that have one under the attach id `x`. */
async function cleared(
  records: Readonly<Record<string, object>>,
  served: readonly string[] = [],
): Promise<string[]> {
  const { records: kept } = memoryRecords();
  await kept.change({ puts: Object.entries(records).map(([key, record]) => ({ key, record })) });
  const detached: string[] = [];
  const parts = {
    records: kept,
    node: 'a',
    attacher: {
      call: (name: string, { attachId }: JsonObject) => {
        if (name === 'detach') detached.push(String(attachId));
        return Promise.resolve({ devices: [{ attachId: 'x', uuid: 'v', device: '/dev/none' }] });
      },
    },
    engine: {
      call: () =>
        served.length > 0
          ? Promise.resolve({ attachId: served[0] })
          : Promise.reject(new Refusal('VOLUME_NOT_FOUND', { volume: 'v', hint: '' })),
    },
  } as unknown as ControlParts;
  await clearLeft(parts);
  return detached;
}

const volume = (attachId?: string) => ({
  name: 'db',
  id: 'v',
  drive: '',
  state: 'ready',
  ...(attachId === undefined ? {} : { attachment: { attachId, node: 'a', state: 'attached' } }),
});

test('a device of an attachment that another has taken while no head was here goes', async () => {
  assert.deepEqual(await cleared({ 'volume/db': volume('y'), 'set/v': set('x') }), ['x']);
  assert.deepEqual(await cleared({ 'volume/db': volume(), 'set/v': set('y') }), ['x']);
  assert.deepEqual(await cleared({}), ['x']);
});

test('a device that is attached, served, or known to the set alone stays', async () => {
  assert.deepEqual(await cleared({ 'volume/db': volume('x') }), []);
  assert.deepEqual(await cleared({ 'volume/db': volume('y') }, ['x']), []);
  assert.deepEqual(await cleared({ 'volume/db': volume(), 'set/v': set('x') }), []);
});

const root = process.getuid?.() === 0 ? {} : { skip: 'mounting needs root' };
test(
  'what is mounted of it goes, as soon as nothing of somebody else is mounted over it',
  root,
  async () => {
    const at = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'hf-overtaken-')));
    const device = `hf-overtaken-${process.pid}`;
    const parts = {
      attacher: {
        call: () => Promise.resolve({ devices: [{ attachId: 'x', uuid: 'v', device }] }),
      },
      made: { entries: () => [] },
    } as unknown as ControlParts;
    for (const source of [device, 'other']) execFileSync('mount', ['-t', 'tmpfs', source, at]);
    const timer = setTimeout(() => execFileSync('umount', [at]), 100);
    try {
      await clearOvertaken(parts, 'x');
      assert.deepEqual(
        readMounts().filter((mount) => mount.path === at),
        [],
      );
    } finally {
      clearTimeout(timer);
      fs.rmSync(at, { recursive: true });
    }
  },
);

test('a device that is still being made, and not listed, is given up too', async () => {
  const calls: string[] = [];
  const call = (name: string, { attachId, force }: JsonObject) => {
    calls.push(`${name} ${String(attachId)} ${String(force)}`);
    return Promise.resolve({ devices: [] });
  };
  await clearOvertaken({ attacher: { call } } as unknown as ControlParts, 'x');
  assert.equal(calls.at(-1), 'detach x true');
});
