/**
 * The offline check of a drive. Reads each superblock, each copy of each metadata page and the log once, replays the log in memory, and
 * compares who owns what; on request it reads every data block too, in the order in which they lie. Writes nothing, unless it is
 * asked to repair: then it does what opening the drive does (replay, checkpoint) and writes good copies over rotten ones. It
 * never guesses and never signs anew.
 */

import type { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { ErrnoError } from '../model/errno.ts';
import { Fault } from '../model/errors.ts';
import type { Env, OpenFile } from '../env/env.ts';
import type { IoAsync } from '../env/io-async.ts';
import { Allocator } from './allocator.ts';
import { checkData } from './check-data.ts';
import { checkDirectory } from './check-directory.ts';
import { checkLog } from './check-log.ts';
import { checkMarks } from './check-marks.ts';
import { checkOwners } from './check-owners.ts';
import { checkPages } from './check-pages.ts';
import { type CheckReport, Findings, NO_WAY_BUT_COPIES } from './check-report.ts';
import { checkSuperblocks } from './check-superblocks.ts';
import { checkTable } from './check-table.ts';
import { Directory } from './directory.ts';
import { ioAsyncOf } from './exact.ts';
import { ExtentMap } from './extent-map.ts';
import { openRefusal } from './format-drive.ts';
import { EXTENT_BYTES, Geometry } from './geometry.ts';
import { LOAD_BYTES, Loader, findSuperblocks } from './load.ts';
import { type LogScan, LogReader } from './log-reader.ts';
import { MarkBook, marksMax } from './marks.ts';
import { type Media, newCounters } from './media.ts';
import { PageCache } from './page-cache.ts';
import { PageLoader } from './page-loader.ts';
import { RECOVERY_BYTES, type ReplayedLog, replayLog } from './recovery.ts';
import { repairDrive } from './repair.ts';
import type { ReplayState } from './replay.ts';
import { type Superblock, uuid32 } from './superblock.ts';
import { VolumeTable } from './volume-table.ts';

export type CheckOptions = {
  readonly path: string;
  readonly arena: Arena;
  /** Read and verify every data block. */
  readonly data?: boolean;
  readonly repair?: boolean;
  /** How much of the data blocks is done. */
  readonly onProgress?: (progress: {
    readonly doneBytes: number;
    readonly totalBytes: number;
  }) => void;
};

/** One window for the log, then for data. */
const WINDOW_BYTES = 256 * BLOCK_BYTES;
/** Pages that the log's replay may change, kept in memory since nothing is written: 128 MiB. */
const CACHE_PAGES_MAX = 32_768;
/** What one frame of the log may load besides. */
const ROOM_PAGES = 512;

/** Throws a Refusal where the drive is in use or cannot be opened as a file; all that is wrong with it is in the report. */
export async function checkDrive(env: Env, options: CheckOptions): Promise<CheckReport> {
  let file: OpenFile;
  try {
    file = await env.files.open(options.path, { direct: true, exclusive: true, readOnly: true });
  } catch (error) {
    throw openRefusal(error, options.path);
  }
  const findings = new Findings();
  const check = new Check(env, { file, findings, options });
  try {
    await check.run();
  } catch (error) {
    if (!(error instanceof ErrnoError)) throw error;
    findings.add({
      code: 'UNREADABLE',
      severity: 'damage',
      where: 'drive',
      what: `The drive failed to answer: ${error.message}`,
      consequence: 'The check ends here, and so would opening the drive',
      wayOut: `See what the kernel says of the device (dmesg). ${NO_WAY_BUT_COPIES}`,
    });
  } finally {
    await ioAsyncOf(env.io).close(file.fd);
  }
  if (options.repair === true) await repairDrive(env, options, findings);
  return {
    path: options.path,
    findings: findings.list,
    summary: findings.summary(),
    ...check.totals,
  };
}

class Check {
  readonly #env: Env;
  readonly #file: OpenFile;
  readonly #findings: Findings;
  readonly #options: CheckOptions;
  readonly #ioAsync: IoAsync;
  readonly totals = {
    volumes: 0,
    usedCells: 0,
    freeCells: 0,
    framesToReplay: 0,
    logBytesToReplay: 0,
    pagesRead: 0,
    dataBlocksRead: 0,
  };

  constructor(
    env: Env,
    parts: { readonly file: OpenFile; readonly findings: Findings; readonly options: CheckOptions },
  ) {
    this.#env = env;
    this.#file = parts.file;
    this.#findings = parts.findings;
    this.#options = parts.options;
    this.#ioAsync = ioAsyncOf(env.io);
  }

  /** Goes as far as an opening of the drive would. */
  async run(): Promise<void> {
    const findings = this.#findings;
    const { arena } = this.#options;
    const scratch = arena.reserve(Math.max(LOAD_BYTES, RECOVERY_BYTES), BLOCK_BYTES);
    const checksum = checksumOf(arena.memory);
    const found = await findSuperblocks({
      ioAsync: this.#ioAsync,
      fd: this.#file.fd,
      words: arena.u32,
      checksum,
      scratch,
      fileBytes: this.#file.sizeBytes,
    });
    const superblock = checkSuperblocks(found, this.#file.sizeBytes, findings);
    if (superblock === undefined) return;
    const media = this.#media(superblock, checksum);
    const directory = new Directory(media.geometry.pageCount, superblock.layout.directoryPages);
    const loader = new Loader(media, this.#ioAsync, scratch);
    const work = { directory, loader, superblock, scratch, findings };
    if (!(await checkDirectory(media, this.#ioAsync, work))) return;
    const pages = await checkPages(media, this.#ioAsync, work);
    this.totals.pagesRead = pages.read;
    if (!pages.tableLost) await this.#state({ media, ...work });
  }

  async #state(work: {
    readonly media: Media;
    readonly directory: Directory;
    readonly loader: Loader;
    readonly superblock: Superblock;
    readonly scratch: number;
  }): Promise<void> {
    const { media, directory, loader, superblock } = work;
    const findings = this.#findings;
    const state = this.#states(media, directory, superblock);
    const { map, allocator, cache, table, load } = state;
    await loader.table(directory, table);
    await loader.owners(directory, { table, map, allocator });
    const window = this.#options.arena.reserve(WINDOW_BYTES, BLOCK_BYTES);
    const reader = new LogReader(media, this.#ioAsync, window);
    const scan = await reader.scan(superblock);
    const replayed = await this.#replay(state, { ...work, reader, scan });
    const log = { scan, voids: replayed?.voids, superblock };
    this.totals.framesToReplay = scan.frames.length;
    this.totals.logBytesToReplay = checkLog(log, findings);
    if (replayed === undefined) return;
    checkTable(table, findings);
    checkMarks(table, findings);
    this.totals.volumes = checkOwners({ map, allocator, table, findings });
    this.totals.freeCells = allocator.freeCount;
    this.totals.usedCells = allocator.cellCount - allocator.freeCount;
    if (this.#options.data !== true) return;
    const isKnown = (page: number): boolean => directory.generation(page) > 0 || cache.has(page);
    const { redo } = replayed.replay;
    const totalBytes = this.totals.usedCells * EXTENT_BYTES;
    this.totals.dataBlocksRead = await checkData({
      media,
      ioAsync: this.#ioAsync,
      table,
      load,
      isKnown,
      window,
      redo,
      findings,
      onCells: (count) =>
        this.#options.onProgress?.({ doneBytes: count * EXTENT_BYTES, totalBytes }),
    });
  }

  /** Undefined where the log is damaged, or means pages that are lost. */
  async #replay(
    state: ReplayState,
    work: { readonly reader: LogReader; readonly scan: LogScan; readonly scratch: number },
  ): Promise<ReplayedLog | undefined> {
    if (work.scan.damage !== undefined) return undefined;
    const relieve = (): Promise<void> => roomLeft(state.cache);
    try {
      return await replayLog(state, { ...work, ioAsync: this.#ioAsync, relieve });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#findings.add({
        code: 'LOG_NOT_REPLAYED',
        severity: 'damage',
        where: 'log',
        what: `It cannot be replayed: ${String(error.details['problem'])}`,
        consequence: 'The drive does not open',
        wayOut: NO_WAY_BUT_COPIES,
      });
      return undefined;
    }
  }

  #states(media: Media, directory: Directory, superblock: Superblock): ReplayState {
    const pages = new PageLoader(media, 0);
    const cache = new PageCache(media, directory, {
      frameCount: Math.min(CACHE_PAGES_MAX, media.geometry.pageCount + ROOM_PAGES),
      waiterCount: PageLoader.waiterCount,
      onReady: (waiter) => pages.onReady(waiter),
    });
    pages.start(cache);
    const load = (page: number): Promise<number> => pages.load(page);
    const marks = new MarkBook(marksMax(superblock.layout.logBlocks));
    return {
      media,
      map: new ExtentMap(),
      allocator: new Allocator(superblock.layout),
      cache,
      marks,
      table: new VolumeTable(media, cache, {
        load,
        marks,
        nextNumber: superblock.nextVolumeNumber,
        drive: this.#options.path,
      }),
      load,
    };
  }

  #media(superblock: Superblock, checksum: Media['checksum']): Media {
    const { arena } = this.#options;
    return {
      io: this.#env.io,
      fd: this.#file.fd,
      arena,
      words: arena.u32,
      bytes: arena.u8,
      checksum,
      geometry: new Geometry(superblock.layout),
      uuid32: uuid32(superblock.driveUuid),
      counters: newCounters(),
      onBad: () => undefined,
      activity: 0,
      fault: undefined,
      stop: () => undefined,
    };
  }
}

function roomLeft(cache: PageCache): Promise<void> {
  if (cache.dirtyCount < cache.frameCount - ROOM_PAGES) return Promise.resolve();
  throw new Fault('DRIVE_CORRUPT', {
    problem: `it changes more than ${CACHE_PAGES_MAX} metadata pages, which the check does not hold in memory: open and close the drive once, then check it`,
  });
}
