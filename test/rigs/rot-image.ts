/**
 * A small drive in the simulator, in which single bytes rot: it is written once, then each experiment starts from the same
 * image, flips bits of one byte, opens the drive, reads everything, and opens it once more.
 */

import { Arena } from '../../src/lib/arena.ts';
import { Prng } from '../../src/lib/prng.ts';
import type { BlockTarget } from '../../src/model/block-target.ts';
import { Fault } from '../../src/model/errors.ts';
import { Geometry, planLayout, type Layout } from '../../src/store/geometry.ts';
import { DriveStore } from '../../src/store/drive-store.ts';
import { SimMachine, type SimProcess } from '../../sim/sim-machine.ts';
import type { SimDisk, SimDiskImage } from '../../sim/sim-disk.ts';
import { World } from '../../sim/world.ts';
import { SECTOR_BYTES, stampedBytes } from './stamps.ts';

export const BLOCK_BYTES = 4096;

const PATH = '/rot/drive.img';
const KIB = 1024;
/** Chunks of 8 cells, a log of 384 blocks: every kind of metadata, and few bytes of it. */
const GEOMETRY = { logBytes: 1536 * KIB, cellsPerChunk: 8, tablePages: 2, chunkCountMax: 64 };
const DRIVE_BYTES = 7 * KIB * KIB;
const LAYOUT = ((): Layout => {
  const layout = planLayout({ ...GEOMETRY, sizeBytes: DRIVE_BYTES });
  if (layout === undefined) throw new Error('The drive is too small for one chunk');
  return layout;
})();
const LIMITS = { cachePages: 16, logMemoryBlocks: 54, frameBlocksMax: 18 };
/** 24 MiB, as the simulator's processes have. */
const MEMORY_PAGES = 384;
const READ_BLOCKS = 16;
const ZEROS = Buffer.alloc(BLOCK_BYTES);
/** The store writes its mark of what is durable within 10 ms after a flush; rot before that is a torn tail to it. */
const MARK_WAIT_US = 100_000;
const EIO = 5;

/** What came of one rotten byte. */
export type RotOutcome =
  /** All data is there. */
  | { readonly kind: 'unharmed' }
  /** The drive refused to open, by name. */
  | { readonly kind: 'refused'; readonly code: string }
  /** It opened; some blocks answer EIO, all others are right. */
  | { readonly kind: 'errors'; readonly blockCount: number };

export type RotRegion = 'superblock' | 'log' | 'directory' | 'table' | 'chunk metadata' | 'data';
export type RotBlock = {
  readonly number: number;
  readonly region: RotRegion;
  readonly isZero: boolean;
};

/** Wrong bytes, a missing volume, a crash: what must not be. */
export class Poisoned extends Error {
  override name = 'Poisoned';
}

type Expected = { readonly uuid: string; readonly content: Buffer };

export type RotImageOptions = {
  readonly seed: number;
  /** Ends the writing process by SIGKILL instead of a clean close: then the log matters too. */
  readonly killed: boolean;
};

const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES });

export class RotImage {
  readonly #world: World;
  readonly #machine: SimMachine;
  readonly #expected: Expected[] = [];
  #image: SimDiskImage | undefined;
  #arenaUsed = memory.buffer.byteLength;

  private constructor(seed: number) {
    this.#world = new World(seed);
    this.#machine = new SimMachine(this.#world);
  }

  /** Writes two volumes, with overwrites, holes and a trim, and keeps the image. */
  static async make(options: RotImageOptions): Promise<RotImage> {
    const made = new RotImage(options.seed);
    await made.#write(options);
    return made;
  }

  get #disk(): SimDisk {
    const disk = this.#machine.disks.get(PATH);
    if (disk === undefined) throw new Error('The drive is not formatted yet');
    return disk;
  }

  /** Blocks of the drive that hold anything, with what they hold. */
  blocks(): RotBlock[] {
    const geometry = new Geometry(LAYOUT);
    const blocks: RotBlock[] = [];
    for (const number of this.#takenImage().pages.keys()) {
      const bytes = Buffer.alloc(BLOCK_BYTES);
      this.#disk.restore(this.#takenImage());
      this.#disk.read(number * BLOCK_BYTES, bytes);
      const region = regionOf(geometry, number);
      // The zeros of a fresh log or table are read, but say nothing; a data cell's are holes.
      if (region !== 'data' || !bytes.equals(ZEROS))
        blocks.push({ number, region, isZero: bytes.equals(ZEROS) });
    }
    return blocks.toSorted((a, b) => a.number - b.number);
  }

  /** For the canary: from now on the right content is another one, as if the drive had answered wrong bytes. */
  expectOtherContent(): void {
    const content = this.#expected[0]?.content;
    if (content !== undefined) content[0] = (content[0] ?? 0) ^ 1;
  }

  /** Flips `bits` of one byte, opens twice, reads all twice. Throws {@link Poisoned}. */
  async flip(positionBytes: number, bits: number): Promise<RotOutcome> {
    this.#disk.restore(this.#takenImage());
    this.#disk.flip(positionBytes, bits);
    const first = await this.#openAndRead();
    // A drive that opens once must open again, and what it wrote meanwhile must not have made the rot "valid".
    const second = await this.#openAndRead();
    if (first.kind !== 'refused' && second.kind === 'refused') {
      throw new Poisoned(`the drive opened once and then refused: ${second.code}`);
    }
    return first;
  }

  #takenImage(): SimDiskImage {
    if (this.#image === undefined) throw new Error('There is no image yet');
    return this.#image;
  }

  #start(): { readonly process: SimProcess; readonly arena: Arena } {
    const process = this.#machine.start(memory);
    const arena = new Arena(memory);
    arena.u8.fill(0, 0, this.#arenaUsed);
    this.#arenaUsed = 0;
    return { process, arena };
  }

  #end(process: SimProcess, arena: Arena): void {
    this.#machine.kill(process);
    this.#arenaUsed = Math.max(this.#arenaUsed, arena.usedBytes);
  }

  async #write(options: RotImageOptions): Promise<void> {
    const format = this.#start();
    const { env } = format.process;
    await this.#world.await(
      DriveStore.format(env, {
        path: PATH,
        arena: format.arena,
        sizeBytes: DRIVE_BYTES,
        sparse: true,
        geometry: GEOMETRY,
      }),
      'formatting',
    );
    this.#end(format.process, format.arena);

    const { process, arena } = this.#start();
    const store = await this.#world.await(
      DriveStore.open(process.env, { path: PATH, arena, limits: LIMITS }),
      'opening',
    );
    const random = new Prng(options.seed);
    const address = arena.reserve(READ_BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
    for (const [index, sizeBytes] of [640 * KIB, 192 * KIB].entries()) {
      const uuid = `${index + 1}`.repeat(32);
      await this.#world.await(store.createVolume({ uuid, sizeBytes }), 'creating a volume');
      const content = await this.#fill(
        { store, process, arena, address },
        { uuid, sizeBytes, random },
      );
      this.#expected.push({ uuid, content });
    }
    await this.#world.sleep(MARK_WAIT_US);
    if (!options.killed) await this.#world.await(store.close(), 'closing');
    this.#end(process, arena);
    // Requests of the dead process that are under way end before the image is taken.
    await this.#world.sleep(1_000_000);
    this.#image = this.#disk.image();
  }

  /** Random writes over most of the volume, some twice; one extent is trimmed, some are never written. Returns the content. */
  async #fill(
    on: {
      readonly store: DriveStore;
      readonly process: SimProcess;
      readonly arena: Arena;
      readonly address: number;
    },
    volume: { readonly uuid: string; readonly sizeBytes: number; readonly random: Prng },
  ): Promise<Buffer> {
    const { random } = volume;
    const content = Buffer.alloc(volume.sizeBytes);
    const blocks = volume.sizeBytes / BLOCK_BYTES;
    const { request, target } = this.#requester(on.store, on.process, volume.uuid);
    for (let version = 1; version <= blocks / 2; version++) {
      const blockCount = 1 + random.below(6);
      // The last tenth is never written.
      const first = random.below(Math.max(1, Math.floor(blocks * 0.9) - blockCount));
      const range = { firstSector: first * 8, sectorCount: blockCount * 8 };
      const bytes = stampedBytes(Number.parseInt(volume.uuid.slice(0, 8), 16), range, version);
      on.arena.u8.set(bytes, on.address);
      const offset = first * BLOCK_BYTES;
      await request((token) => target.write(token, offset, bytes.length, on.address, false));
      bytes.copy(content, offset);
    }
    const trimmed = 16 * BLOCK_BYTES;
    await request((token) => target.trim(token, trimmed, trimmed, false));
    content.fill(0, trimmed, 2 * trimmed);
    await request((token) => target.flush(token));
    return content;
  }

  /** Sends one request after the other and waits for each; rejects on an errno. */
  #requester(
    store: DriveStore,
    process: SimProcess,
    uuid: string,
  ): {
    readonly request: (send: (token: number) => void) => Promise<void>;
    readonly target: BlockTarget;
  } {
    let answer: number | undefined;
    const target = store.openTarget(uuid, (_, errno) => {
      answer = errno;
    });
    const request = async (send: (token: number) => void): Promise<void> => {
      answer = undefined;
      process.io.inTurn(() => send(1));
      await this.#world.run(() => answer !== undefined, 'a request');
      if (answer !== 0) throw new RequestFailed(answer ?? 0);
    };
    return { request, target };
  }

  async #openAndRead(): Promise<RotOutcome> {
    const { process, arena } = this.#start();
    try {
      const store = await this.#world.await(
        DriveStore.open(process.env, { path: PATH, arena, limits: LIMITS }),
        'opening',
      );
      const found = new Set(store.volumes().map((volume) => volume.uuid));
      const { state } = store.status();
      let blockCount = 0;
      for (const expected of this.#expected) {
        if (!found.has(expected.uuid)) throw new Poisoned(`volume ${expected.uuid} is missing`);
        blockCount += await this.#compare(store, { process, arena, expected });
      }
      if (state === 'open') await this.#world.await(store.close(), 'closing');
      return blockCount === 0 ? { kind: 'unharmed' } : { kind: 'errors', blockCount };
    } catch (error) {
      if (error instanceof Fault) return { kind: 'refused', code: error.code };
      throw error;
    } finally {
      this.#end(process, arena);
      await this.#world.sleep(1_000_000);
    }
  }

  /** Reads a volume extent by extent, and block by block where an extent fails; returns how many blocks answer EIO. */
  async #compare(
    store: DriveStore,
    on: { readonly process: SimProcess; readonly arena: Arena; readonly expected: Expected },
  ): Promise<number> {
    const { content, uuid } = on.expected;
    const address = on.arena.reserve(READ_BLOCKS * BLOCK_BYTES, BLOCK_BYTES);
    const { request, target } = this.#requester(store, on.process, uuid);
    const failed = async (first: number, count: number): Promise<boolean> => {
      try {
        await request((token) => target.read(token, first, count, address));
      } catch (error) {
        if (error instanceof RequestFailed && error.errno === EIO) return true;
        throw error;
      }
      const offset = first * BLOCK_BYTES;
      const right = content.subarray(offset, offset + count * BLOCK_BYTES);
      const got = Buffer.from(on.arena.u8.buffer, address, count * BLOCK_BYTES);
      if (!right.equals(got))
        throw new Poisoned(`volume ${uuid}: ${firstDifference(right, got, offset)}`);
      return false;
    };
    let blockCount = 0;
    const blocks = content.length / BLOCK_BYTES;
    for (let first = 0; first < blocks; first += READ_BLOCKS) {
      const count = Math.min(READ_BLOCKS, blocks - first);
      if (!(await failed(first, count))) continue;
      for (let block = first; block < first + count; block++)
        if (await failed(block, 1)) blockCount++;
    }
    return blockCount;
  }
}

function regionOf(geometry: Geometry, block: number): RotRegion {
  const { layout } = geometry;
  const lastBlocks = layout.sizeBytes / BLOCK_BYTES - 2;
  if (block < layout.logStart || block >= lastBlocks) return 'superblock';
  if (block < layout.directoryStart) return 'log';
  if (block < layout.tableStart) return 'directory';
  if (block < layout.chunkStart) return 'table';
  const within = (block - layout.chunkStart) % geometry.chunkBlocks;
  return within < 2 * geometry.pagesPerChunk ? 'chunk metadata' : 'data';
}

class RequestFailed extends Error {
  readonly errno: number;

  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

function firstDifference(right: Buffer, got: Buffer, offset: number): string {
  const at = right.findIndex((byte, index) => byte !== got[index]);
  const sector = at - (at % SECTOR_BYTES);
  const hex = (from: Buffer): string => from.subarray(sector, sector + 16).toString('hex');
  return `byte ${offset + at} is wrong; its sector begins ${hex(got)}, right is ${hex(right)}`;
}
