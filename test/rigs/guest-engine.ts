/**
 * Runs inside of tools/kernel-vm: a Holdfast engine, and the kernel's nbd driver as its client, first connected by a stock
 * nbd-client, then by our attacher; ext4 and xfs on it, and the engine killed under load. Prints a line for each thing that holds.
 *
 * A stock client gives up with its socket: what was written fails, and what had been flushed is there after a new connection.
 * Under the attacher the same kills fail nothing.
 */

import assert from 'node:assert/strict';
import { Buffer } from 'node:buffer';
import fs from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

import { EngineProcess } from './engine-process.ts';
import { type AttachArguments, GuestAttacher, holds, run } from './guest.ts';

const MIB = 2 ** 20;
/** On the disk of the guest: its /tmp is in memory and has no O_DIRECT. */
const DRIVE = { driveId: 'guest', path: '/holdfast/drive.img' };
const DRIVE_BYTES = 512 * MIB;
/** mkfs.xfs wants 300 MB. */
const VOLUME_BYTES = 320 * MIB;
const MOUNT = '/mnt';
const DEVICE = '/dev/nbd0';
/** Software emulation on a busy machine: Node alone has taken 20 s to start. */
const READY_MS_MAX = 120_000;
const FILE_COUNT = 24;
const FILE_BLOCKS = 128;
/** Kills come after so many more files, so that each finds files that are written for the second time. */
const FILES_BEFORE_KILL = 30;
const KILL_COUNT = 2;

type FileSystem = {
  readonly name: 'ext4' | 'xfs';
  readonly make: readonly [program: string, ...values: string[]];
  readonly check: readonly [program: string, ...values: string[]];
};

const FILE_SYSTEMS: readonly FileSystem[] = [
  { name: 'ext4', make: ['mkfs.ext4', '-q'], check: ['e2fsck', '-f', '-n'] },
  { name: 'xfs', make: ['mkfs.xfs', '-q'], check: ['xfs_repair', '-n'] },
];

const make = async ({ make: [program, ...values] }: FileSystem, device: string): Promise<void> =>
  void (await run(program, ...values, device));
const mount = async (fileSystem: FileSystem, device: string): Promise<void> =>
  void (await run('mount', '-t', fileSystem.name, device, MOUNT));
const unmount = async (): Promise<void> => void (await run('umount', MOUNT));

/** Files that are written again and again, each with fsync: what is recorded here is on the volume. */
class Load {
  /** The version of each file whose fsync returned; a file that is being written is not in it. */
  readonly #flushed = new Map<number, number>();
  #stopped = false;
  writtenCount = 0;
  stallMs = 0;

  /** Resolves after {@link stop}; rejects with the first error of a write. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      const file = this.writtenCount % FILE_COUNT;
      const version = this.writtenCount + 1;
      this.#flushed.delete(file);
      const from = performance.now();
      await write(pathOf(file), contentOf(version));
      this.stallMs = Math.max(this.stallMs, performance.now() - from);
      this.#flushed.set(file, version);
      this.writtenCount = version;
    }
  }

  /** Resolves in the middle of a file, after some more. */
  async proceed(): Promise<void> {
    const wanted = this.writtenCount + FILES_BEFORE_KILL;
    while (this.writtenCount < wanted) await sleep(5);
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Compares what was flushed with what is there. Returns the number of files. */
  verify(): number {
    for (const [file, version] of this.#flushed) {
      const isRight = contentOf(version).equals(fs.readFileSync(pathOf(file)));
      assert.ok(isRight, `file ${file} holds what was written as version ${version}`);
    }
    return this.#flushed.size;
  }
}

const pathOf = (file: number): string => `${MOUNT}/file-${file}`;

/** Each block says what it is, so that a block in a wrong place shows. */
function contentOf(version: number): Buffer {
  const blocks = Array.from({ length: FILE_BLOCKS }, (_, block) =>
    Buffer.alloc(4096, `version ${version}, block ${block}; `),
  );
  return Buffer.concat(blocks);
}

async function write(path: string, content: Buffer): Promise<void> {
  // No O_TRUNC: the second version overwrites the blocks of the first.
  const file = await fs.promises.open(path, fs.constants.O_RDWR | fs.constants.O_CREAT);
  try {
    await file.write(content, 0, content.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

class Guest {
  readonly engine = new EngineProcess({ readyMsMax: READY_MS_MAX });
  readonly attacher = new GuestAttacher(this.engine.folder);
  #volumeCount = 0;

  async start(): Promise<void> {
    await this.engine.start();
    await this.engine.call('drive.format', { ...DRIVE, sizeBytes: DRIVE_BYTES, sparse: false });
    await this.engine.call('drive.open', DRIVE);
    this.engine.listDrives([DRIVE]);
  }

  async attachVolume(): Promise<AttachArguments> {
    const index = String(++this.#volumeCount);
    const uuid = `5d1c0d4e-93a8-4a4c-9d0c-00000000000${index}`;
    const attachId = `c${index}`.repeat(16);
    const volume = { driveId: DRIVE.driveId, uuid, sizeBytes: VOLUME_BYTES };
    await this.engine.call('volume.create', volume);
    const served = await this.engine.call('volume.attach', { uuid, attachId, epoch: 1 });
    return { uuid, attachId, socketPath: String(served['socketPath']), sizeBytes: VOLUME_BYTES };
  }

  async dropVolume({ uuid, attachId }: AttachArguments): Promise<void> {
    await this.engine.call('volume.detach', { uuid, attachId });
    await this.engine.call('volume.delete', { uuid });
  }

  /** Bytes of the drive that the volume takes. */
  async allocatedBytes({ uuid }: AttachArguments): Promise<number> {
    const { volumes } = await this.engine.call('volume.list');
    assert.ok(Array.isArray(volumes));
    return Number(volumes.find((each) => each.uuid === uuid).allocatedBytes);
  }
}

type Mounted = {
  readonly client: string;
  readonly fileSystem: FileSystem;
  readonly volume: AttachArguments;
  readonly device: string;
};

/** What was flushed is there, the file system is whole, and the space of deleted files comes back to the drive. */
async function verify(guest: Guest, load: Load, mounted: Mounted): Promise<void> {
  const { client, fileSystem, volume, device } = mounted;
  // The mount replays the journal; the check is of what that leaves.
  await mount(fileSystem, device);
  const fileCount = load.verify();
  assert.ok(fileCount >= FILE_COUNT - 1, `${fileCount} files were flushed`);
  await unmount();
  const [program, ...values] = fileSystem.check;
  await run(program, ...values, device);
  holds(`${client}, ${fileSystem.name}: ${fileCount} flushed files are right, and so is fsck`);
  const before = await guest.allocatedBytes(volume);
  await mount(fileSystem, device);
  for (let file = 0; file < FILE_COUNT; file++) fs.rmSync(pathOf(file));
  await run('sync');
  await run('fstrim', MOUNT);
  await unmount();
  const freed = (before - (await guest.allocatedBytes(volume))) / MIB;
  assert.ok(freed > 8, `${freed} MiB came back`);
  holds(`${client}, ${fileSystem.name}: fstrim gave ${Math.round(freed)} MiB back to the drive`);
}

async function stockClient(guest: Guest, fileSystem: FileSystem): Promise<void> {
  const volume = await guest.attachVolume();
  const connect = async (): Promise<string> =>
    run('nbd-client', '-unix', volume.socketPath, '-N', volume.attachId, '-b', '4096', DEVICE);
  const disconnect = async (): Promise<string> => run('nbd-client', '-d', DEVICE);
  await connect();
  await make(fileSystem, DEVICE);
  await mount(fileSystem, DEVICE);
  const load = new Load();
  const failing = assert.rejects(load.run(), 'a write fails');
  await load.proceed();
  await guest.engine.end('SIGKILL');
  // Until it is told to let go, the driver waits for replies that never come.
  await disconnect();
  await failing;
  await unmount();
  await guest.engine.start();
  await connect();
  await verify(guest, load, { client: 'nbd-client', fileSystem, volume, device: DEVICE });
  await disconnect();
  await guest.dropVolume(volume);
}

async function attacher(guest: Guest, fileSystem: FileSystem): Promise<void> {
  const volume = await guest.attachVolume();
  const { device, kind } = await guest.attacher.attach(volume);
  assert.equal(kind, 'kernel-nbd');
  await make(fileSystem, device);
  await mount(fileSystem, device);
  const load = new Load();
  const loading = load.run();
  for (let kills = 0; kills < KILL_COUNT; kills++) {
    await load.proceed();
    await guest.engine.end('SIGKILL');
    await guest.engine.start();
  }
  await load.proceed();
  load.stop();
  await loading;
  await unmount();
  const stall = `stalled ${device} by ${Math.round(load.stallMs)} ms and failed nothing`;
  holds(`attacher, ${fileSystem.name}: ${KILL_COUNT} kills of the engine ${stall}`);
  await verify(guest, load, { client: 'attacher', fileSystem, volume, device });
  await guest.attacher.client.call('detach', { attachId: volume.attachId });
  await guest.dropVolume(volume);
}

async function main(): Promise<void> {
  const guest = new Guest();
  await guest.start();
  const { io } = await guest.engine.call('hello', { protocol: 1 });
  const client = (await run('nbd-client', '-V')).trim();
  holds(`the engine serves on Linux ${os.release()}, ${JSON.stringify(io)}, ${client}`);
  for (const fileSystem of FILE_SYSTEMS) await stockClient(guest, fileSystem);
  await guest.attacher.start();
  for (const fileSystem of FILE_SYSTEMS) await attacher(guest, fileSystem);
  await guest.attacher.client.call('shutdown');
  assert.equal(await guest.engine.end('SIGTERM'), 0);
  await guest.engine.remove();
  holds('all is detached, and the engine ended in order');
}

try {
  await main();
} catch (error) {
  // A process with I/O on a device that waits for its server cannot end, and the machine would run until its time limit.
  await run('nbd-client', '-d', DEVICE).catch(() => undefined);
  throw error;
}
process.exit(0);
