/** What the attacher remembers and how it recognises things: the made log, the mount table, processes, parts of sends. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';

import { type ClientState, nextState } from './client-state.ts';
import { type Made, MadeLog } from './made-log.ts';
import { parseMounts } from './mount-table.ts';
import { identify, isAlive } from './process-identity.ts';
import { SendBatch } from './send-batch.ts';

const linux = process.platform === 'linux' ? {} : { skip: 'Linux only' };

test('MadeLog names what was made and is not gone, whatever line a death cut short', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-made-'));
  const log = new MadeLog(directory);
  assert.deepEqual(log.entries(), []);
  const socket: Made = { kind: 'socket', path: '/a' };
  const mount: Made = { kind: 'mount', path: '/m', device: '/dev/loop0', owned: true, parents: [] };
  log.record(socket);
  log.record(mount);
  fs.appendFileSync(log.path, '{"made":{"kind":"sock');
  log.record({ kind: 'nbd', device: '/dev/nbd0', backend: 'x' });
  log.forget(socket);
  log.record(mount);
  assert.deepEqual(
    log.entries().map((made) => made.kind),
    ['nbd', 'mount'],
  );
  log.forget({ kind: 'mount', path: '/m', device: '/dev/loop1', owned: true, parents: [] });
  assert.equal(log.entries().length, 2, 'another device at the same path is another mount');
  log.remove();
  assert.deepEqual(new MadeLog(directory).entries(), []);
  fs.rmSync(directory, { recursive: true });
});

test('a MadeLog that came with a copy of its directory names nothing', () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-made-'));
  const copy = `${directory}-copy`;
  const made: Made = { kind: 'nbd', device: '/dev/nbd0', backend: 'x' };
  new MadeLog(directory).record(made);
  fs.cpSync(directory, copy, { recursive: true });
  assert.deepEqual(new MadeLog(copy).entries(), []);
  fs.rmSync(copy, { recursive: true });
  fs.renameSync(directory, copy);
  assert.deepEqual(new MadeLog(copy).entries(), [made], 'what was moved is the same');
  fs.rmSync(copy, { recursive: true });
});

test('parseMounts reads escapes, optional fields and sources', () => {
  const text = `22 1 7:3 / /mnt/a\\040b rw,noatime shared:1 master:2 - ext4 /dev/loop3 rw
23 1 0:44 / /run/f rw - fuse.holdfast holdfast:00 rw,user_id=0
broken line
`;
  assert.deepEqual(parseMounts(text), [
    { device: '7:3', path: '/mnt/a b', type: 'ext4', source: '/dev/loop3', isReadOnly: false },
    {
      device: '0:44',
      path: '/run/f',
      type: 'fuse.holdfast',
      source: 'holdfast:00',
      isReadOnly: false,
    },
  ]);
});

test('a process is not taken for a later one, nor a dead one for alive', linux, async () => {
  const mine = identify(process.pid)!;
  assert.equal(isAlive(mine), true);
  assert.equal(isAlive({ ...mine, startTicks: mine.startTicks + 1 }), false);
  // A command with parentheses and spaces in its name must not shift the fields.
  const child = spawn(process.execPath, [
    '-e',
    'process.title=") S 1 (";setInterval(()=>{},1e6);console.log(1)',
  ]);
  await once(child.stdout, 'data');
  const its = identify(child.pid!)!;
  assert.equal(isAlive(its), true);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(isAlive(its), false);
});

test('SendBatch takes partial sends off its front', () => {
  const batch = new SendBatch(4);
  batch.clear();
  batch.add(100, 28);
  batch.add(1000, 4096);
  batch.add(200, 28);
  assert.equal(batch.hasRoom(1), true);
  assert.equal(batch.hasRoom(2), false);
  batch.advance(10);
  assert.deepEqual([batch.first, batch.count, ...batch.segments.subarray(0, 2)], [0, 3, 110, 18]);
  batch.advance(18 + 4096 + 5);
  assert.deepEqual([batch.first, batch.count, ...batch.segments.subarray(4, 6)], [2, 1, 205, 23]);
  batch.advance(23);
  assert.equal(batch.count, 0);
});

test('a wait keeps its beginning while only its problem changes', () => {
  const first: ClientState = { kind: 'waiting', problem: 'a', sinceMs: 1 };
  const second = nextState(first, { kind: 'waiting', problem: 'b', sinceMs: 5 });
  assert.deepEqual(second, { kind: 'waiting', problem: 'b', sinceMs: 1 });
  const serving: ClientState = { kind: 'serving', sinceMs: 9 };
  assert.equal(nextState(second, serving), serving);
});
