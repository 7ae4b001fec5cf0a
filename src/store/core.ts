/**
 * One open drive at work: requests come in, are cut into pieces of one extent each, pass the gate, are read or changed, and
 * are answered when their last piece is over.
 */

import { assert } from '../lib/assert.ts';
import { BLOCK_BYTES } from '../model/block-target.ts';
import { EINVAL, EIO, EROFS, ESHUTDOWN } from '../model/errno.ts';
import { Changer } from './changer.ts';
import type { DriveState } from './drive-state.ts';
import type { ExtentMap } from './extent-map.ts';
import { Gate } from './gate.ts';
import { EXTENT_BYTES } from './geometry.ts';
import { Piece, Queue, Request, lowestBit, type PieceKind } from './piece.ts';
import { Reader } from './reader.ts';
import { RequestOrder } from './request-order.ts';

/** Pieces under way on one drive: bounds its memory (about 300 bytes each) and the pages that can be waited for. */
export const PIECE_COUNT = 2048;
/** Pieces of one request under way: a trim of a whole volume goes on in steps. */
const PIECES_PER_REQUEST_MAX = 24;
/** Pages of the cache for each change that looks for its own: three, and as many for readers in between. */
const CACHE_PAGES_PER_CHANGE = 6;
/** Blocks of scratch for writes of less than a block. */
const SCRATCH_COUNT = 64;

export class Core {
  readonly #drive: DriveState;
  readonly #gate = new Gate();
  readonly #order = new RequestOrder();
  readonly #reader: Reader;
  readonly #changer: Changer;
  readonly #pieces: Piece[] = [];
  readonly #freePieces: Piece[] = [];
  readonly #freeRequests: Request[] = [];
  /** Requests that found no piece free. */
  readonly #starved = new Queue<Request>();
  /** Pieces let in by the gate, to be started. */
  readonly #ready = new Queue<Piece>();
  /** Changes that wait until fewer others look for their pages. */
  readonly #changesWaiting = new Queue<Piece>();
  #changing = 0;
  readonly #changingMax: number;
  readonly #edgesWaiting = new Queue<Piece>();
  readonly #logFull = new Queue<Piece>();
  readonly #driveFull = new Queue<Piece>();
  /** Pieces whose frames are not written yet, in order of frame. */
  readonly #taken = new Queue<Piece>();
  #takenFirst: Piece | undefined;
  /** Finished inside the call that submitted them: told at the end of the turn. */
  readonly #over = new Queue<Request>();
  #inCall = false;
  #draining = false;
  #room = false;
  /** Flushes by token, which is an index in here. */
  readonly #flushing: (Request | undefined)[] = [];
  readonly #freeFlushes: number[] = [];
  readonly #scratch: number;
  readonly #freeScratch: number[] = [];
  /** The newest frame with an acknowledged change. */
  #ackedLsn: number;
  /** Requests under way. */
  inFlight = 0;

  constructor(drive: DriveState) {
    this.#drive = drive;
    this.#changingMax = Math.max(1, Math.floor(drive.cache.frameCount / CACHE_PAGES_PER_CHANGE));
    this.#ackedLsn = drive.log.sealedLsn;
    for (let index = 0; index < PIECE_COUNT; index++) this.#pieces.push(new Piece(index));
    this.#freePieces.push(...this.#pieces.toReversed());
    this.#scratch = drive.media.arena.reserve(SCRATCH_COUNT * BLOCK_BYTES, BLOCK_BYTES);
    for (let index = 0; index < SCRATCH_COUNT; index++) this.#freeScratch.push(index);
    this.#reader = new Reader(drive, this.#pieces, { onRead: (piece) => this.#onRead(piece) });
    this.#changer = new Changer(drive, this.#pieces, {
      onChanged: (piece) => this.#pieceOver(piece),
      onLogFull: (piece) => this.#logFull.push(piece),
      onDriveFull: (piece) => {
        this.#driveFull.push(piece);
        drive.flusher.require(drive.allocator.limboLsn, () => undefined);
      },
      onPlaced: (piece) => this.goOn(piece.index),
      onTaken: (piece) => {
        this.#endChange(piece);
        this.#taken.push(piece);
      },
    });
  }

  // --- Requests -----------------------------------------------------------------------------------------------

  get map(): ExtentMap {
    return this.#drive.map;
  }

  /** A blank request that the caller fills in and passes to {@link submit}. */
  request(): Request {
    const request = this.#freeRequests.pop() ?? new Request();
    request.errno = 0;
    request.outstanding = 0;
    request.lsn = 0;
    request.fua = false;
    request.allocate = false;
    request.done = undefined;
    return request;
  }

  /** Starts a request. It ends in its client's onDone (or its own done), never inside this call. */
  submit(request: Request): void {
    this.inFlight++;
    this.#inCall = true;
    request.errno = this.#refusal(request);
    if (request.errno !== 0) this.#tell(request);
    else if (request.kind === 'flush') this.#flush(request);
    else {
      request.cursor = request.offset;
      if (!this.#order.holds(request)) this.#cut(request);
      this.#run();
    }
    this.#inCall = false;
  }

  /** Why a request cannot be taken, as an errno; 0 when it can. */
  #refusal(request: Request): number {
    const { client, kind } = request;
    if (this.#drive.media.fault !== undefined && kind !== 'read') return EIO;
    if (client === undefined || request.done !== undefined || kind === 'flush') return 0;
    if (client.volume.state === 'deleting') return ESHUTDOWN;
    if (request.end > client.volume.sizeBytes || request.end < request.offset) return EINVAL;
    return client.birthMax !== Infinity && kind !== 'read' ? EROFS : 0;
  }

  #flush(request: Request): void {
    if (this.#drive.flusher.isDurable(this.#ackedLsn)) this.#requestOver(request);
    else this.#awaitFlush(request, this.#ackedLsn);
  }

  #awaitFlush(request: Request, lsn: number): void {
    // A stopped drive flushes nothing any more, and who waited was answered when it stopped.
    if (this.#drive.media.fault !== undefined) {
      request.errno = EIO;
      this.#tell(request);
      return;
    }
    const token = this.#freeFlushes.pop() ?? this.#flushing.length;
    this.#flushing[token] = request;
    this.#drive.flusher.flush(token, lsn);
  }

  /** From Flusher: what this flush asked for is durable, or the drive has stopped. */
  onFlushed(token: number): void {
    const request = this.#flushing[token];
    assert(request !== undefined, 'a flush is answered once');
    this.#flushing[token] = undefined;
    this.#freeFlushes.push(token);
    if (this.#drive.media.fault !== undefined) request.errno = EIO;
    this.#tell(request);
  }

  /** Cuts pieces off the request until it is all under way, or enough of it, or no piece is free. */
  #cut(request: Request): void {
    request.outstanding++;
    while (request.cursor < request.end && request.outstanding <= PIECES_PER_REQUEST_MAX) {
      const piece = this.#freePieces.pop();
      if (piece === undefined) {
        request.outstanding--;
        request.waiting = true;
        this.#starved.push(request);
        this.#order.cut(request);
        return;
      }
      if (this.#shape(request, piece)) {
        request.outstanding++;
        if (this.#gate.enter(piece)) this.#ready.push(piece);
      } else this.#freePieces.push(piece);
    }
    const releases = this.#order.cut(request);
    if (--request.outstanding === 0) this.#requestOver(request);
    if (releases) this.#cutHeld();
  }

  /** Requests that waited for others to be cut. */
  #cutHeld(): void {
    for (let next = this.#order.take(); next !== undefined; next = this.#order.take())
      this.#cut(next);
  }

  /** Makes `piece` the next part of the request; false when that part needs no work. */
  #shape(request: Request, piece: Piece): boolean {
    const start = request.cursor;
    const extent = Math.floor(start / EXTENT_BYTES);
    const extentStart = extent * EXTENT_BYTES;
    const end = Math.min(request.end, extentStart + EXTENT_BYTES);
    const block = Math.floor((start - extentStart) / BLOCK_BYTES);
    const blockStart = extentStart + block * BLOCK_BYTES;
    const blocks = Math.floor((end - blockStart) / BLOCK_BYTES);
    piece.request = request;
    piece.extent = extent;
    piece.errno = 0;
    piece.pending = 0;
    piece.newCell = -1;
    piece.placed = false;
    piece.scratch = -1;
    piece.base = request.address + extentStart - request.offset;
    if (start !== blockStart || blocks === 0) {
      request.cursor = Math.min(end, blockStart + BLOCK_BYTES);
      if (request.kind === 'trim') return false;
      piece.kind = 'edge';
      piece.mask = 1 << block;
      piece.edgeFrom = start - blockStart;
      piece.edgeLength = request.cursor - start;
      piece.edgeSource = request.kind === 'write' ? request.address + start - request.offset : 0;
      return true;
    }
    request.cursor = blockStart + blocks * BLOCK_BYTES;
    piece.mask = ((1 << blocks) - 1) << block;
    piece.kind = kindOf(request);
    if (piece.kind === 'zero') piece.base = this.#drive.zeroExtent;
    return true;
  }

  #requestOver(request: Request): void {
    if (request.errno === 0 && request.fua && request.lsn > 0) {
      this.#ackedLsn = Math.max(this.#ackedLsn, request.lsn);
      if (!this.#drive.flusher.isDurable(request.lsn)) {
        this.#awaitFlush(request, request.lsn);
        return;
      }
    }
    this.#tell(request);
  }

  #tell(request: Request): void {
    if (this.#inCall) {
      this.#over.push(request);
      return;
    }
    this.inFlight--;
    this.#drive.media.activity++;
    if (request.errno === 0) this.#ackedLsn = Math.max(this.#ackedLsn, request.lsn);
    const { client, token, errno, done } = request;
    request.client = undefined;
    this.#freeRequests.push(request);
    if (done !== undefined) done(errno);
    else client?.onDone(token, errno);
  }

  // --- Pieces -------------------------------------------------------------------------------------------------

  /** Starts the pieces that the gate let in. Not recursive: a piece that ends at once only adds to the queue. */
  #run(): void {
    if (this.#draining) return;
    this.#draining = true;
    for (let piece = this.#ready.shift(); piece !== undefined; piece = this.#ready.shift()) {
      this.#start(piece);
    }
    this.#draining = false;
  }

  #start(piece: Piece): void {
    if (piece.kind === 'read') this.#reader.start(piece);
    else if (piece.kind === 'edge' && piece.scratch < 0) this.#startEdge(piece);
    else this.#change(piece);
  }

  /** Each change needs up to three pages at once: more of them than the cache has room for would take them from one another for ever. */
  #change(piece: Piece): void {
    if (this.#changing >= this.#changingMax) {
      this.#changesWaiting.push(piece);
      return;
    }
    this.#changing++;
    piece.changing = true;
    this.#changer.change(piece);
  }

  /** The change is in a frame, or over: the next one may look for its pages. */
  #endChange(piece: Piece): void {
    if (!piece.changing) return;
    piece.changing = false;
    this.#changing--;
    const next = this.#changesWaiting.shift();
    if (next !== undefined) this.#ready.push(next);
  }

  /** A write of less than a block: the whole block is read into scratch first. */
  #startEdge(piece: Piece): void {
    const scratch = this.#freeScratch.pop();
    if (scratch === undefined) {
      this.#edgesWaiting.push(piece);
      return;
    }
    piece.scratch = scratch;
    piece.base = this.#scratch + (scratch - lowestBit(piece.mask)) * BLOCK_BYTES;
    this.#reader.start(piece);
  }

  #onRead(piece: Piece): void {
    if (piece.kind !== 'edge' || piece.errno !== 0) {
      this.#pieceOver(piece);
      return;
    }
    const { bytes } = this.#drive.media;
    const to = this.#scratch + piece.scratch * BLOCK_BYTES + piece.edgeFrom;
    if (piece.edgeSource === 0) bytes.fill(0, to, to + piece.edgeLength);
    else bytes.copyWithin(to, piece.edgeSource, piece.edgeSource + piece.edgeLength);
    piece.stage = 'start';
    this.#change(piece);
  }

  #pieceOver(piece: Piece): void {
    const { request } = piece;
    assert(request !== undefined, 'a piece ends once');
    this.#endChange(piece);
    this.#gate.leave(piece, (waiter) => this.#ready.push(waiter));
    if (piece.scratch >= 0) this.#returnScratch(piece);
    if (piece.errno !== 0) request.errno = piece.errno;
    if (piece.lsn > request.lsn && piece.kind !== 'read') request.lsn = piece.lsn;
    piece.lsn = 0;
    piece.request = undefined;
    this.#freePieces.push(piece);
    request.outstanding--;
    if (request.errno !== 0) {
      request.cursor = request.end;
      if (this.#order.cut(request)) this.#cutHeld();
    }
    if (!request.waiting) {
      if (request.cursor < request.end) this.#cut(request);
      else if (request.outstanding === 0) this.#requestOver(request);
    }
    const starved = this.#freePieces.length > 0 ? this.#starved.shift() : undefined;
    if (starved !== undefined) {
      starved.waiting = false;
      this.#cut(starved);
    }
    this.#run();
  }

  #returnScratch(piece: Piece): void {
    this.#freeScratch.push(piece.scratch);
    piece.scratch = -1;
    const next = this.#edgesWaiting.shift();
    if (next !== undefined) this.#ready.push(next);
  }

  // --- What pieces wait for -----------------------------------------------------------------------------------

  /** What the piece waited for has come: a page, or its data's place. */
  goOn(index: number): void {
    const piece = this.#pieces[index];
    if (piece?.request === undefined) return;
    if (piece.stage === 'verify') this.#reader.verify(piece);
    else if (piece.stage === 'change') this.#changer.change(piece);
    this.#run();
  }

  /** From Log: all frames up to `lsn` have completed. */
  onWritten(lsn: number): void {
    for (;;) {
      this.#takenFirst ??= this.#taken.shift();
      const piece = this.#takenFirst;
      if (piece === undefined || piece.lsn > lsn) break;
      this.#takenFirst = undefined;
      this.#changer.frameWritten(piece);
    }
  }

  /** From Log: changes that found it full may try again, in order, at the end of the turn. */
  onRoom(): void {
    this.#room = true;
  }

  /** Freed cells have become usable, or none are left in limbo. */
  onSpace(): void {
    this.#retry(this.#driveFull);
  }

  #retry(queue: Queue<Piece>): void {
    if (queue.isEmpty || this.#retrying) return;
    this.#retrying = true;
    const again = new Queue<Piece>();
    for (let piece = queue.shift(); piece !== undefined; piece = queue.shift()) again.push(piece);
    for (let piece = again.shift(); piece !== undefined; piece = again.shift()) {
      this.#changer.change(piece);
    }
    this.#retrying = false;
    this.#run();
  }
  #retrying = false;

  get waitsForLog(): boolean {
    return !this.#logFull.isEmpty;
  }

  get waitsForSpace(): boolean {
    return !this.#driveFull.isEmpty;
  }

  /** Lets changes that waited for the log try again. */
  retryLog(): void {
    if (!this.#room) return;
    this.#room = false;
    this.#retry(this.#logFull);
  }

  /** Tells what ended inside a call. */
  tellOver(): void {
    for (let request = this.#over.shift(); request !== undefined; request = this.#over.shift()) {
      this.#tell(request);
    }
  }

  /** The drive has stopped: every waiting piece fails. Those with I/O under way fail when it ends. */
  failAll(): void {
    for (const queue of [this.#logFull, this.#driveFull]) this.#retry(queue);
    this.#drive.cache.wakeStarved();
    for (;;) {
      const piece = this.#takenFirst ?? this.#taken.shift();
      this.#takenFirst = undefined;
      if (piece === undefined) break;
      piece.errno = EIO;
      this.#changer.frameWritten(piece);
    }
    this.#drive.flusher.failAll();
  }
}

function kindOf(request: Request): PieceKind {
  switch (request.kind) {
    case 'read':
      return 'read';
    case 'write':
      return 'write';
    case 'zero':
      return request.allocate ? 'zero' : 'trim';
    default:
      return 'trim';
  }
}
