/** Opens a drive: lock, fdatasync, superblock, metadata, log, recovery, final checkpoint, serve (drive-store.md, O1). */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { ErrnoError } from '../model/errno.ts';
import { Fault, Refusal } from '../model/errors.ts';
import type { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import type { Env, OpenFile } from '../env/env.ts';
import type { IoAsync } from '../env/io-async.ts';
import { Allocator } from './allocator.ts';
import { Checkpointer } from './checkpoint.ts';
import { Core, PIECE_COUNT } from './core.ts';
import { Directory } from './directory.ts';
import type { DriveParts } from './drive-store.ts';
import type { DriveState } from './drive-state.ts';
import { ioAsyncOf } from './exact.ts';
import { ExtentMap } from './extent-map.ts';
import { Flusher } from './flusher.ts';
import { openRefusal } from './format-drive.ts';
import { EXTENT_BYTES, Geometry } from './geometry.ts';
import {
  findSuperblocks,
  type FoundSuperblocks,
  LOAD_BYTES,
  Loader,
  superblockProblem,
} from './load.ts';
import { LogReader } from './log-reader.ts';
import { logStart } from './log-start.ts';
import { Life } from './life.ts';
import { Log } from './log.ts';
import { MarkBook, markBlocks, marksMax } from './marks.ts';
import { type BadBlock, newCounters, type Media } from './media.ts';
import { PageCache } from './page-cache.ts';
import { PageLoader } from './page-loader.ts';
import { PageWriter } from './page-writer.ts';
import { Payloads } from './payloads.ts';
import { recover, RECOVERY_BYTES } from './recovery.ts';
import { SoftTrims } from './soft-trims.ts';
import { mendSuperblock } from './superblock-writer.ts';
import { REPLICAS, uuid32, type Superblock } from './superblock.ts';
import { TurnKeeper } from './turn-keeper.ts';
import { VolumeTable } from './volume-table.ts';
import { wordsHex } from './volume.ts';

/** Memory of one open drive; docs/drive-format.md adds it up. */
export type DriveLimits = {
  /** Frames of the page cache: 4096 are 16 MiB and cover the checksums of 16 GiB. */
  readonly cachePages: number;
  /** Blocks of log memory: 6144 are 24 MiB of payload that is not yet applied. */
  readonly logMemoryBlocks: number;
  /** Blocks of the largest frame. */
  readonly frameBlocksMax: number;
  /** Where the search for free cells starts. Tests of large positions start far out. */
  readonly firstChunk: number;
  /** Open marks of all volumes; at most what the log has room for. Tests of coarse marks have few. */
  readonly marksMax: number;
};

export const DRIVE_LIMITS: DriveLimits = {
  cachePages: 4096,
  logMemoryBlocks: 6144,
  frameBlocksMax: 129,
  firstChunk: 0,
  marksMax: Infinity,
};

/** Which drive is expected at a path, by whom: names of devices change, and another node may have taken the drive over. */
export type Owner = {
  /** 32 hex digits. */
  readonly driveUuid: string;
  /** One above that of the drive takes it over, durably before it is served. */
  readonly generation: number;
};

export type OpenOptions = {
  readonly path: string;
  readonly arena: Arena;
  /** Undefined: whatever it is, it is opened as it is. */
  readonly owner?: Owner | undefined;
  readonly limits?: Partial<DriveLimits>;
  /** Called once when the drive stops for good. */
  readonly onFault?: (reason: string) => void;
  /** Called for each bad block that is met. */
  readonly onBad?: (block: BadBlock) => void;
};

const WINDOW_BYTES = 256 * BLOCK_BYTES;
/** 1/64 of the cells, at most one chunk's, are kept for trims over snapshots on a full drive. */
const HOLE_RESERVE_MAX = 1008;

export async function openDrive(env: Env, options: OpenOptions): Promise<DriveParts> {
  let file: OpenFile;
  try {
    file = await env.files.open(options.path, { direct: true, exclusive: true });
  } catch (error) {
    throw openRefusal(error, options.path);
  }
  try {
    return await openFile(env, file, options);
  } catch (error) {
    // Where one of several reads failed, others may be under way.
    await ioAsyncOf(env.io).close(file.fd);
    throw openFault(error, options.path);
  }
}

/** Every failure of an opening that began is a Fault that names the drive. */
function openFault(error: unknown, drive: string): unknown {
  if (error instanceof ErrnoError)
    return new Fault('DRIVE_IO', { drive, problem: error.message }, error);
  if (error instanceof Fault && (error.details['drive'] ?? '') === '') {
    return new Fault(error.code, { ...error.details, drive }, error);
  }
  return error;
}

async function openFile(env: Env, file: OpenFile, options: OpenOptions): Promise<DriveParts> {
  const startUs = env.io.nowUs();
  const ioAsync = ioAsyncOf(env.io);
  const { arena } = options;
  const scratch = arena.reserve(Math.max(LOAD_BYTES, RECOVERY_BYTES), BLOCK_BYTES);
  const checksum = checksumOf(arena.memory);
  const place = {
    ioAsync,
    fd: file.fd,
    words: arena.u32,
    checksum,
    scratch,
    fileBytes: file.sizeBytes,
  };
  const found = await findSuperblocks(place);
  const { newest } = found;
  if (newest === undefined) throw new Fault('DRIVE_CORRUPT', { problem: superblockProblem(found) });
  if (newest.layout.sizeBytes > file.sizeBytes) {
    throw new Fault('DRIVE_CORRUPT', {
      problem: `it is ${file.sizeBytes} bytes long and was ${newest.layout.sizeBytes}: it was cut off`,
    });
  }
  refuseOthers(newest, options);
  const life = new Life(env.boot, newest);
  const media = makeMedia(env, {
    file,
    arena,
    checksum,
    superblock: newest,
    onFault: (reason) => {
      life.forgetNote();
      options.onFault?.(reason);
    },
    onBad: options.onBad,
  });
  const limits = { ...DRIVE_LIMITS, ...options.limits };
  try {
    // A tail seen in the drive's cache is not durable yet, nor is what a dead process wrote.
    await ioAsync.flush(file.fd);
    return await assemble(env, {
      media,
      ioAsync,
      scratch,
      superblock: newest,
      copies: found.copies,
      life,
      limits,
      startUs,
      path: options.path,
      generation: options.owner?.generation ?? newest.generation,
    });
  } catch (error) {
    life.forgetNote();
    throw error;
  }
}

/** Before anything is written: what is not, or no longer, its owner's stays as it is. */
function refuseOthers({ driveUuid, generation }: Superblock, { path, owner }: OpenOptions): void {
  if (owner === undefined) return;
  const found = wordsHex(driveUuid);
  if (found !== owner.driveUuid)
    throw new Refusal('DRIVE_ANOTHER', { path, found, wanted: owner.driveUuid });
  if (generation > owner.generation) throw new Refusal('DRIVE_TAKEN_OVER', { path });
}

function makeMedia(
  env: Env,
  from: {
    readonly file: OpenFile;
    readonly arena: Arena;
    readonly checksum: Media['checksum'];
    readonly superblock: Superblock;
    readonly onFault: (reason: string) => void;
    readonly onBad: ((block: BadBlock) => void) | undefined;
  },
): Media {
  const media: Media = {
    io: env.io,
    fd: from.file.fd,
    arena: from.arena,
    words: from.arena.u32,
    bytes: from.arena.u8,
    checksum: from.checksum,
    geometry: new Geometry(from.superblock.layout),
    uuid32: uuid32(from.superblock.driveUuid),
    counters: newCounters(),
    activity: 0,
    fault: undefined,
    stop(reason) {
      if (media.fault !== undefined) return;
      media.fault = reason;
      from.onFault(reason);
    },
    onBad: from.onBad ?? (() => undefined),
  };
  return media;
}

type Assembly = {
  readonly media: Media;
  readonly ioAsync: IoAsync;
  readonly scratch: number;
  readonly superblock: Superblock;
  /** Of the superblock, as they were found. */
  readonly copies: FoundSuperblocks['copies'];
  readonly life: Life;
  readonly limits: DriveLimits;
  readonly startUs: number;
  readonly path: string;
  readonly generation: number;
};

async function assemble(env: Env, work: Assembly): Promise<DriveParts> {
  const { media, ioAsync, superblock, limits, scratch } = work;
  const directory = new Directory(media.geometry.pageCount, superblock.layout.directoryPages);
  // The parts know each other; what they call before all are there are these holders.
  let core: Core | undefined;
  const pages = new PageLoader(media, PIECE_COUNT);
  const cache = new PageCache(media, directory, {
    frameCount: limits.cachePages,
    waiterCount: PIECE_COUNT + PageLoader.waiterCount,
    onReady: (waiter) => (waiter < PIECE_COUNT ? core?.goOn(waiter) : pages.onReady(waiter)),
  });
  pages.start(cache);
  const load = (page: number): Promise<number> => pages.load(page);
  const map = new ExtentMap();
  const allocator = new Allocator(superblock.layout);
  allocator.seek(limits.firstChunk);
  const marks = new MarkBook(Math.min(limits.marksMax, marksMax(superblock.layout.logBlocks)));
  const table = new VolumeTable(media, cache, {
    load,
    marks,
    nextNumber: superblock.nextVolumeNumber,
    drive: work.path,
  });
  const loader = new Loader(media, ioAsync, scratch);
  await loader.directory(directory, superblock);
  await loader.table(directory, table);
  const rotten = await loader.owners(directory, { table, map, allocator });

  const early = new PageWriter(media, {
    directory,
    cache,
    ioAsync,
    whenDurable: () => Promise.resolve(),
  });
  const window = media.arena.reserve(WINDOW_BYTES, BLOCK_BYTES);
  const recovered = await recover(
    { media, map, allocator, cache, table, marks, load },
    {
      ioAsync,
      reader: new LogReader(media, ioAsync, window),
      superblock,
      scratch,
      relieve: async () => {
        if (cache.dirtyCount * 2 > cache.frameCount) await early.writeAll();
      },
    },
  );
  countCells(table, map);
  const random = new Uint32Array(env.random.bytes(8).buffer);
  const start = logStart(superblock, recovered, random);
  const isReplicated = (superblock.features & REPLICAS) !== 0;
  const events = {
    onWritten: (lsn: number) => core?.onWritten(lsn),
    onSettled: () => undefined,
    onRoom: () => core?.onRoom(),
  };
  const log = new Log(media, {
    frameBlocksMax: limits.frameBlocksMax,
    memoryBlocks: limits.logMemoryBlocks,
    start,
    events,
  });
  if (isReplicated) log.marksRoom = 2 * markBlocks(superblock.layout.logBlocks);
  const flusher = new Flusher(media, log, {
    onFlushed: (token) => core?.onFlushed(token),
    onDurable: () => undefined,
  });
  const payloads = new Payloads(media, log);
  const zeroExtent = media.arena.reserve(EXTENT_BYTES, BLOCK_BYTES);
  // The memory may have been another drive's.
  media.bytes.fill(0, zeroExtent, zeroExtent + EXTENT_BYTES);
  const drive: DriveState = {
    media,
    directory,
    cache,
    map,
    allocator,
    log,
    flusher,
    payloads,
    softTrims: new SoftTrims(),
    marks,
    ownersLost: rotten.length > 0,
    zeroExtent,
    holeReserve: Math.min(HOLE_RESERVE_MAX, Math.floor(allocator.cellCount / 64)),
  };
  core = new Core(drive);
  const turns = new TurnKeeper(drive, core);
  const pageWriter = new PageWriter(media, {
    directory,
    cache,
    ioAsync,
    whenDurable: (lsn) => turns.whenDurable(lsn),
  });
  const opened = {
    ...superblock,
    saltLow: start.saltLow,
    saltHigh: start.saltHigh,
    incarnation: superblock.incarnation + 1,
    generation: work.generation,
    ...work.life.opened(),
  };
  const checkpointer = new Checkpointer(
    {
      drive,
      ioAsync,
      pageWriter,
      nextVolumeNumber: () => table.nextNumber,
      volumes: () => table.all(),
      flush: () => turns.flush(),
      nextTurn: () => turns.nextTurn(),
    },
    opened,
  );
  turns.start(checkpointer);
  // A drive that is only read stays as it is.
  if (!drive.ownersLost) {
    try {
      await mendSuperblock({ media, ioAsync, address: scratch, superblock }, work.copies);
      await checkpointer.run();
      work.life.begun(opened);
    } catch (error) {
      // Its file is about to be closed.
      turns.stop();
      throw error;
    }
    turns.startMirroring();
  }
  const recovery = {
    ms: (env.io.nowUs() - work.startUs) / 1000,
    replayedFrames: recovered.scan.frames.length,
    redoneBlocks: recovered.redoneBlocks,
    voidBlocks: recovered.voidBlocks,
    rottenBlocks: recovered.rottenBlocks,
  };
  const { life } = work;
  return {
    env,
    path: work.path,
    drive,
    core,
    table,
    checkpointer,
    turns,
    recovery,
    life,
    load,
    scratch,
  };
}

function countCells(table: VolumeTable, map: ExtentMap): void {
  for (const volume of table.all()) {
    volume.cellCount = 0;
    map.forEach(volume, 0, (extent) => {
      volume.cellCount +=
        map.single(volume, extent) === -1 ? map.versions(volume, extent).length : 1;
      return true;
    });
  }
}
