/** The signatures of kernel-calls.ts, raw-sockets.ts and service-notice.ts against the real kernel. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';

import { EBADF, ECONNREFUSED, ENOENT, ENOTTY, EPERM } from '../../model/errno.ts';
import { familyOf, formatGetFamily, parseMessages } from '../../wire/netlink/generic-netlink.ts';
import { openKernelCalls } from './kernel-calls.ts';
import { openRawSockets } from './raw-sockets.ts';
import { tellServiceManager } from './service-notice.ts';

const skip = process.platform === 'linux' ? false : 'Linux only';
const BLKGETSIZE64 = 0x8008_1272;

test('calls on threads give their own errno', { skip }, async () => {
  const calls = openKernelCalls();
  const gone = { source: 'x', target: '/nowhere', type: 'tmpfs', flags: 0, data: '' };
  const results = await Promise.all([
    calls.ioctl(-1, BLKGETSIZE64, new ArrayBuffer(128)),
    calls.unmount('/nowhere', 0),
    calls.mount(gone),
    calls.ioctl(0, 0x4c82, 0).catch(() => 0),
  ]);
  assert.equal(results[0], -EBADF);
  assert.ok([ENOENT, EPERM].includes(results[1]));
  assert.ok([ENOENT, EPERM].includes(results[2]));
  assert.ok(results[3] < 0);
  const file = fs.openSync('/proc/self/status', 'r');
  assert.equal(await calls.ioctl(file, BLKGETSIZE64, new ArrayBuffer(128)), -ENOTTY);
  fs.closeSync(file);
});

test('raw sockets connect, send, receive, and see their peer go', { skip }, async () => {
  const sockets = openRawSockets();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-raw-'));
  const socketPath = path.join(directory, 's');
  assert.equal(await sockets.connectUnix(socketPath), -ENOENT);
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => void socket.end(`${String(bytes)} back`));
  });
  await new Promise<void>((resolve) => {
    server.listen(socketPath, resolve);
  });
  const fd = await sockets.connectUnix(socketPath);
  assert.ok(fd > 0);
  assert.deepEqual(await sockets.pollEnded([fd], 1), []);
  assert.equal(await sockets.send(fd, Buffer.from('there')), 5);
  const answer = await sockets.receive(fd, 100);
  assert.ok(typeof answer !== 'number');
  assert.equal(Buffer.from(answer).toString(), 'there back');
  assert.deepEqual(await sockets.pollEnded([fd], 5000), [fd]);
  assert.equal(((await sockets.receive(fd, 100)) as Uint8Array).length, 0);
  fs.closeSync(fd);
  await new Promise((resolve) => {
    server.close(resolve);
  });
  fs.writeFileSync(socketPath, '');
  assert.equal(await sockets.connectUnix(socketPath), -ECONNREFUSED);
  fs.rmSync(directory, { recursive: true });
});

const isLast = (datagram: Uint8Array): boolean =>
  parseMessages(datagram).some((message) => message.kind === 'end');

test('netlink finds a family that is there, and none that is not', { skip }, () => {
  const sockets = openRawSockets();
  const ask = (name: string) => {
    const answer = sockets.netlink(formatGetFamily(name), isLast);
    assert.ok(typeof answer !== 'number', `netlink answers (errno ${String(answer)})`);
    return answer.flatMap((datagram) => parseMessages(datagram));
  };
  const [first] = ask('nlctrl');
  assert.ok(first?.kind === 'data');
  assert.equal(familyOf(first.attributes), 0x10);
  assert.deepEqual(ask('no-such-family'), [{ kind: 'end', errno: ENOENT }]);
});

const LISTENER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', chr(0)))
print('bound', flush=True)
print(s.recv(1000).decode(), flush=True)`;

for (const kind of ['path', 'abstract'] as const) {
  test(`a service manager is told, at a socket with ${kind} name`, { skip }, async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-notice-'));
    const name = kind === 'path' ? path.join(directory, 's') : `@hf-notice-${process.pid}`;
    assert.equal(tellServiceManager('READY=1'), 0, 'nobody is to be told');
    process.env['NOTIFY_SOCKET'] = name;
    try {
      const manager = spawn('python3', ['-c', LISTENER, name]);
      let said = '';
      for await (const bytes of manager.stdout) {
        if (said === '') assert.equal(tellServiceManager('MAINPID=7', 'READY=1'), 0);
        said += String(bytes);
      }
      assert.equal(said, 'bound\nMAINPID=7\nREADY=1\n');
      assert.equal(tellServiceManager('READY=1') === 0, false, 'nobody listens any more');
    } finally {
      delete process.env['NOTIFY_SOCKET'];
      fs.rmSync(directory, { recursive: true });
    }
  });
}
