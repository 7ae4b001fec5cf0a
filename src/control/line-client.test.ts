import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, type Socket, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { Refusal } from '../model/errors.ts';
import { LineSplitter } from '../wire/line-protocol.ts';
import { LineClient } from './line-client.ts';

const directory = mkdtempSync(join(tmpdir(), 'holdfast-line-'));
after(() => rmSync(directory, { recursive: true, force: true }));
let count = 0;

type Call = { readonly id: number; readonly call: string };

/** A peer that does with each call what `onCall` does. Resolves with its path; it ends with the test. */
async function listen(
  t: { after(hook: () => void): void },
  onCall: (socket: Socket, call: Call) => void,
): Promise<{ path: string; server: Server }> {
  const path = join(directory, `${count++}.sock`);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const splitter = new LineSplitter();
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      for (const line of splitter.take(bytes) ?? []) onCall(socket, JSON.parse(line) as Call);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { path, server };
}

const say = (socket: Socket, answer: object): unknown =>
  socket.write(`${JSON.stringify(answer)}\n`);

const isSilent = (error: unknown): boolean =>
  error instanceof Refusal &&
  error.code === 'ENGINE_UNREACHABLE' &&
  /has not answered for 0.1 s/.test(error.message);

test('a peer that takes the connection and says nothing is given up on', async (t) => {
  const { path } = await listen(t, () => undefined);
  const client = new LineClient(path, 'ENGINE_UNREACHABLE');
  t.after(() => client.close());
  await assert.rejects(client.call('drive.list', {}, { silenceMs: 100 }), isSilent);
});

test('a peer that falls silent in a call is given up on, and its late answer is nobody’s', async (t) => {
  let late: (() => void) | undefined;
  const { path } = await listen(t, (socket, { id, call }) => {
    if (call === 'slow') late = () => say(socket, { id, ok: { late: true } });
    else say(socket, { id, ok: { call } });
  });
  const client = new LineClient(path, 'ENGINE_UNREACHABLE');
  t.after(() => client.close());
  await assert.rejects(client.call('slow', {}, { silenceMs: 100 }), isSilent);
  assert.ok(late !== undefined);
  late();
  assert.deepEqual(await client.call('next', {}), { call: 'next' });
});

test('progress is no silence', async (t) => {
  const { path } = await listen(t, (socket, { id, call }) => {
    if (call !== 'format') return say(socket, { id, ok: {} });
    let doneBytes = 0;
    const timer = setInterval(() => {
      if (doneBytes < 6)
        return say(socket, { id, progress: { doneBytes: doneBytes++, totalBytes: 6 } });
      clearInterval(timer);
      return say(socket, { id, ok: { doneBytes } });
    }, 60);
    return undefined;
  });
  const client = new LineClient(path, 'ENGINE_UNREACHABLE');
  t.after(() => client.close());
  const seen: number[] = [];
  const options = {
    silenceMs: 250,
    onProgress: ({ doneBytes }: { readonly doneBytes: number }) => seen.push(doneBytes),
  };
  assert.deepEqual(await client.call('format', {}, options), { doneBytes: 6 });
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
});

test('a peer that is away is waited for, and named when it stays away', async (t) => {
  const path = join(directory, 'nobody.sock');
  const client = new LineClient(path, 'ATTACHER_UNREACHABLE');
  t.after(() => client.close());
  await assert.rejects(
    client.call('list', {}, { waitMs: 120 }),
    (error: unknown) => error instanceof Refusal && error.code === 'ATTACHER_UNREACHABLE',
  );
});

test('a call whose connection breaks is made again', async (t) => {
  let calls = 0;
  const { path } = await listen(t, (socket, { id, call }) => {
    if (call === 'hello') say(socket, { id, ok: {} });
    else if (++calls === 1) socket.destroy();
    else say(socket, { id, ok: { calls } });
  });
  const client = new LineClient(path, 'ENGINE_UNREACHABLE');
  t.after(() => client.close());
  assert.deepEqual(await client.call('volume.create', {}), { calls: 2 });
});
