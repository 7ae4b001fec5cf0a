/**
 * The offline check of a drive. Reads each superblock, each copy of each metadata page and the log once, replays the log in memory, and
 * compares who owns what; on request it reads every data block too. Writes nothing, unless it is asked to repair: then it does
 * what opening the drive does (replay, checkpoint) and writes good copies over rotten ones. It never guesses and never signs anew.
 */

import type { Arena } from '../lib/arena.ts';
import { checksumOf } from '../lib/checksum.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { Fault, Refusal } from '../model/errors.ts';
import type { Env, OpenFile } from '../env/env.ts';
import { Allocator } from './allocator.ts';
import { checkData } from './check-data.ts';
import { checkOwners } from './check-owners.ts';
import { checkPages } from './check-pages.ts';
import { type CheckReport, Findings } from './check-report.ts';
import { Directory } from './directory.ts';
import { ioAsyncOf } from './exact.ts';
import { ExtentMap } from './extent-map.ts';
import { openRefusal } from './format-drive.ts';
import { Geometry } from './geometry.ts';
import {
  type FoundSuperblocks,
  LOAD_BYTES,
  Loader,
  findSuperblocks,
  superblockProblem,
} from './load.ts';
import { LogReader } from './log-reader.ts';
import { type Media, newCounters } from './media.ts';
import { PageCache } from './page-cache.ts';
import { PageLoader } from './page-loader.ts';
import { RECOVERY_BYTES, replayLog } from './recovery.ts';
import { repairDrive } from './repair.ts';
import { type Superblock, uuid32 } from './superblock.ts';
import { VolumeTable } from './volume-table.ts';

export type CheckOptions = {
  readonly path: string;
  readonly arena: Arena;
  /** Read and verify every data block. */
  readonly data?: boolean;
  readonly repair?: boolean;
};

const WINDOW_BYTES = 256 * BLOCK_BYTES;
/** Pages that the log's replay may change, kept in memory since nothing is written: 128 MiB. */
const CACHE_PAGES_MAX = 32_768;
/** What one frame of the log may load besides. */
const ROOM_PAGES = 512;

/** Throws Refusal DRIVE_BUSY when the drive is in use, DRIVE_CORRUPT never: what is wrong is in the report. */
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
    if (!(error instanceof Fault) && !(error instanceof Refusal)) throw error;
    findings.add({
      code: 'UNREADABLE',
      severity: 'damage',
      where: 'drive',
      what:
        error.details['problem'] === undefined ? error.message : String(error.details['problem']),
      consequence: 'The drive cannot be opened; its volumes are served from it no more',
      wayOut: 'Restore its volumes from other replicas or a backup; keep the drive for an analysis',
    });
  } finally {
    await env.files.close(file.fd);
  }
  const damaged = findings.list.some(({ severity }) => severity === 'damage');
  if (options.repair === true && !damaged)
    await repairDrive(env, options, check.rottenPages, findings);
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
  readonly totals = {
    volumes: 0,
    usedCells: 0,
    freeCells: 0,
    framesToReplay: 0,
    pagesRead: 0,
    dataBlocksRead: 0,
  };
  /** Pages with one rotten copy. */
  rottenPages: readonly number[] = [];

  constructor(
    env: Env,
    parts: { readonly file: OpenFile; readonly findings: Findings; readonly options: CheckOptions },
  ) {
    this.#env = env;
    this.#file = parts.file;
    this.#findings = parts.findings;
    this.#options = parts.options;
  }

  async run(): Promise<void> {
    const { arena } = this.#options;
    const ioAsync = ioAsyncOf(this.#env.io);
    const scratch = arena.reserve(Math.max(LOAD_BYTES, RECOVERY_BYTES), BLOCK_BYTES);
    const checksum = checksumOf(arena.memory);
    const found = await findSuperblocks({
      ioAsync,
      fd: this.#file.fd,
      words: arena.u32,
      checksum,
      scratch,
      fileBytes: this.#file.sizeBytes,
    });
    const superblock = this.#superblocks(found);
    const media = this.#media(superblock, checksum);
    const directory = new Directory(media.geometry.pageCount, superblock.layout.directoryPages);
    const loader = new Loader(media, ioAsync, scratch);
    await loader.directory(directory, superblock);
    const pages = await checkPages(media, ioAsync, {
      directory,
      scratch,
      findings: this.#findings,
    });
    this.totals.pagesRead = pages.read;
    this.rottenPages = pages.rottenCopies;

    const frameCount = Math.min(CACHE_PAGES_MAX, media.geometry.pageCount + ROOM_PAGES);
    const load = new PageLoader(media, 0);
    const cache = new PageCache(media, directory, {
      frameCount,
      waiterCount: PageLoader.waiterCount,
      onReady: (waiter) => load.onReady(waiter),
    });
    load.start(cache);
    const loadPage = (page: number): Promise<number> => load.load(page);
    const map = new ExtentMap();
    const allocator = new Allocator(superblock.layout);
    const table = new VolumeTable(media, cache, {
      load: loadPage,
      nextNumber: superblock.nextVolumeNumber,
    });
    await loader.table(directory, table);
    await loader.owners(directory, { table, map, allocator });
    const window = arena.reserve(WINDOW_BYTES, BLOCK_BYTES);
    const log = await replayLog(
      { media, map, allocator, cache, table, load: loadPage },
      {
        ioAsync,
        reader: new LogReader(media, ioAsync, window),
        superblock,
        scratch,
        relieve: () => this.#roomLeft(cache),
      },
    );
    this.totals.framesToReplay = log.scan.frames.length;
    this.#log(log.scan.frames.length, log.voids.size, superblock);
    this.totals.volumes = checkOwners({ media, map, allocator, table, findings: this.#findings });
    this.totals.freeCells = allocator.freeCount;
    this.totals.usedCells = allocator.cellCount - allocator.freeCount;
    if (this.#options.data !== true) return;
    const state = { media, ioAsync, map, table, load: loadPage, window, findings: this.#findings };
    this.totals.dataBlocksRead = await checkData(state, log.replay.redo);
  }

  #roomLeft(cache: PageCache): Promise<void> {
    if (cache.dirtyCount < cache.frameCount - ROOM_PAGES) return Promise.resolve();
    throw new Fault('DRIVE_CORRUPT', {
      problem: `its log changes more than ${CACHE_PAGES_MAX} metadata pages, which the check does not hold in memory: open and close the drive once, then check it`,
    });
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
      activity: 0,
      fault: undefined,
      stop: () => undefined,
    };
  }

  #superblocks(found: FoundSuperblocks): Superblock {
    const { newest, copies } = found;
    if (newest === undefined)
      throw new Fault('DRIVE_CORRUPT', { problem: superblockProblem(found) });
    if (newest.layout.sizeBytes > this.#file.sizeBytes) {
      throw new Fault('DRIVE_CORRUPT', {
        problem: `it is ${this.#file.sizeBytes} bytes long and was ${newest.layout.sizeBytes}: it was cut off`,
      });
    }
    const names = ['0', '1', '0 (mirror)', '1 (mirror)'];
    for (const [index, copy] of copies.entries()) {
      // The first checkpoint after formatting is number 1: slot 0 is blank until the second.
      if (copy.kind === 'ok' || (copy.kind === 'foreign' && newest.n === 1 && index % 2 === 0))
        continue;
      this.#findings.add({
        code: 'SUPERBLOCK_COPY',
        severity: 'warning',
        where: `superblock ${names[index] ?? index}`,
        what: copy.kind === 'rotten' ? 'Its checksum does not match' : 'It is missing',
        consequence: `Superblock ${newest.n} was found in another copy; the next two checkpoints write this one anew`,
      });
    }
    return newest;
  }

  #log(frames: number, voids: number, superblock: Superblock): void {
    if (frames === 0) return;
    this.#findings.add({
      code: 'LOG_TO_REPLAY',
      severity: 'note',
      where: 'log',
      what: `${frames} frames after checkpoint ${superblock.n} wait for the next open${superblock.clean ? '' : '; the drive was not closed cleanly'}`,
      consequence:
        voids === 0
          ? 'They replay completely'
          : `${voids} records of changes that were not flushed lack some of their data: those blocks keep their former content`,
    });
  }
}
