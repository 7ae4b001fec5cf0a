/**
 * Runs inside of tools/kernel-vm: the attacher on a stock Debian kernel, over its nbd driver and over FUSE and a loop device,
 * while the NBD server (nbdkit over a file) dies and comes back. Prints a line for each thing that holds.
 */

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { GuestAttacher, holds, kill, run } from './guest.ts';

const DATA = '/tmp/data';
const SOCKET = `${DATA}/nbd.sock`;
const IMAGE = `${DATA}/image`;
const MIB = 2 ** 20;
const SIZE_BYTES = 64 * MIB;
const ATTACH_ID = 'c9'.repeat(16);
const UUID = '5d1c0d4e-93a8-4a4c-9d0c-4a2a2a8d7b11';

class Guest {
  readonly attacher = new GuestAttacher(DATA);
  #server: ChildProcess | undefined;

  async startServer(exportName = ATTACH_ID): Promise<void> {
    fs.rmSync(SOCKET, { force: true });
    const filter = ['--filter=exportname', 'file', IMAGE, `exportname=${exportName}`];
    const values = ['-f', '-U', SOCKET, ...filter, 'exportname-strict=true'];
    this.#server = spawn('nbdkit', values, { stdio: ['ignore', 'ignore', 'inherit'] });
    while (!fs.existsSync(SOCKET)) await sleep(20);
  }

  async killServer(): Promise<void> {
    await kill(this.#server);
  }

  async attach(kind?: string): Promise<{ device: string; kind: string }> {
    const args = { attachId: ATTACH_ID, uuid: UUID, socketPath: SOCKET, sizeBytes: SIZE_BYTES };
    return this.attacher.attach(kind === undefined ? args : { ...args, kind });
  }
}

/** Fills the device in pieces while the server is killed `times` times. Returns the longest stall in ms. */
async function fill(guest: Guest, device: string, times: number): Promise<number> {
  const file = await fs.promises.open(device, fs.constants.O_RDWR | 0x4000);
  const piece = 256 * 1024;
  // Direct I/O wants aligned memory, which a WebAssembly memory is.
  const memory = new Uint8Array(new WebAssembly.Memory({ initial: 4, maximum: 4 }).buffer);
  let stallMs = 0;
  let killed = false;
  const killing = (async () => {
    for (let i = 0; i < times; i += 1) {
      await sleep(300);
      await guest.killServer();
      await sleep(200);
      await guest.startServer();
      await sleep(1500);
    }
    killed = true;
  })();
  for (let pass = 0; pass < 200; pass += 1) {
    for (let at = 0; at < SIZE_BYTES; at += piece) {
      memory.fill((at / piece + pass) % 251, 0, piece);
      const from = performance.now();
      const { bytesWritten } = await file.write(memory, 0, piece, at);
      assert.equal(bytesWritten, piece);
      stallMs = Math.max(stallMs, performance.now() - from);
    }
    await file.sync();
    if (!killed) continue;
    await check(file, memory, pass);
    break;
  }
  await killing;
  await file.close();
  return stallMs;
}

async function check(
  file: fs.promises.FileHandle,
  memory: Uint8Array,
  pass: number,
): Promise<void> {
  const piece = memory.length;
  for (let at = 0; at < SIZE_BYTES; at += piece) {
    await file.read(memory, 0, piece, at);
    const expected = (at / piece + pass) % 251;
    assert.ok(
      memory.every((byte) => byte === expected),
      `piece at ${at}`,
    );
  }
}

/** Killed servers stall the I/O of a device and fail none of it. */
async function underKills(guest: Guest, kind: string): Promise<string> {
  const { device, kind: chosen } = await guest.attach(kind);
  assert.equal(chosen, kind);
  const stallMs = await fill(guest, device, 3);
  holds(
    `${kind}: 3 kills of the server stalled ${device} by ${Math.round(stallMs)} ms and failed nothing`,
  );
  const { devices } = await guest.attacher.client.call('list');
  assert.ok(Array.isArray(devices));
  const { connectCount } = devices[0];
  assert.ok(connectCount >= 4, `${connectCount} connections`);
  return device;
}

/** A successor takes over a device that is being written, and a kill of the server later fails nothing. */
async function handedOver(guest: Guest, kind: string, device: string): Promise<void> {
  const filling = fill(guest, device, 0);
  await guest.attacher.handOver();
  const stallMs = await filling;
  assert.deepEqual(await guest.attach(), { device, kind });
  await fill(guest, device, 1);
  holds(`${kind}: handed over to a successor, which stalled it by ${Math.round(stallMs)} ms`);
}

async function nbdOutlivesAttacher(guest: Guest, device: string): Promise<void> {
  await guest.attacher.kill();
  const read = await run('dd', `if=${device}`, 'of=/dev/null', 'bs=4k', 'count=1');
  assert.match(read, /1\+0 records in/);
  await guest.attacher.start();
  const again = await guest.attach();
  assert.deepEqual(again, { device, kind: 'kernel-nbd' });
  holds('kernel-nbd: the device outlives the attacher, and the next one takes it over');
  const stallMs = await fill(guest, device, 1);
  holds(`kernel-nbd: taken over, a kill stalled it by ${Math.round(stallMs)} ms`);
}

async function unknownExportEnds(guest: Guest, device: string): Promise<void> {
  await guest.killServer();
  const reading = run('dd', `if=${device}`, 'of=/dev/null', 'bs=4k', 'count=1', 'skip=99');
  const failing = assert.rejects(reading);
  await sleep(500);
  await guest.startServer('another');
  await failing;
  await guest.killServer();
  await guest.attacher.client.call('detach', { attachId: ATTACH_ID });
  holds(`an export that is gone for good fails the I/O of ${device}`);
  await guest.startServer();
}

async function main(): Promise<void> {
  fs.mkdirSync(`${DATA}/run`, { recursive: true });
  fs.writeFileSync(IMAGE, '');
  fs.truncateSync(IMAGE, SIZE_BYTES);
  const guest = new Guest();
  await guest.startServer();
  await guest.attacher.start();
  const chosen = await guest.attach();
  assert.equal(chosen.kind, 'kernel-nbd');
  holds(`kernel-nbd is chosen by itself: ${chosen.device}`);
  await guest.attacher.client.call('detach', { attachId: ATTACH_ID });
  const nbd = await underKills(guest, 'kernel-nbd');
  await handedOver(guest, 'kernel-nbd', nbd);
  await nbdOutlivesAttacher(guest, nbd);
  await unknownExportEnds(guest, nbd);
  const loop = await underKills(guest, 'fuse-loop');
  await handedOver(guest, 'fuse-loop', loop);
  await unknownExportEnds(guest, loop);
  await guest.attacher.client.call('shutdown');
  holds('all is detached');
}

await main();
process.exit(0);
