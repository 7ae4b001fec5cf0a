/** Reads that no single member can do as a whole: each block from one that can (L9: a bad block is never returned, and read elsewhere). */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { ECONNRESET, EIO } from '../model/errno.ts';
import { seatsIn } from './member.ts';
import type { Operation } from './operations.ts';
import type { WritePath } from './write-path.ts';

/** For a client's read that every member failed; its range is held by it. */
export function readApart(path: WritePath, operation: Operation): void {
  const { id, offsetBytes, lengthBytes, address } = operation;
  const seats = seatsIn(path.memberSeats);
  readFrom(path, { seats, offsetBytes, lengthBytes, address }, (errno) => {
    const present = path.operations.find(id);
    if (present?.isSettling === true) path.readAgain(present, errno);
  });
}

/**
 * Reads what no change is under way to: whole from one of `seats`, tried in their order, or in halves, down to blocks, each from one that
 * can read it. Ends in EIO where a block is readable nowhere, in ECONNRESET where one of them is lost.
 */
export function readFrom(
  path: Pick<WritePath, 'ask'>,
  range: {
    readonly seats: readonly number[];
    readonly offsetBytes: number;
    readonly lengthBytes: number;
    readonly address: number;
  },
  onDone: (errno: number) => void,
): void {
  const { seats, offsetBytes, lengthBytes, address } = range;
  const ask = (at: number): void => {
    const seat = seats[at];
    if (seat === undefined) apart();
    else
      path.ask({
        kind: 'read',
        seats: seat,
        offsetBytes,
        lengthBytes,
        address,
        onDone: (errno) => (errno === 0 || errno === ECONNRESET ? onDone(errno) : ask(at + 1)),
      });
  };
  const apart = (): void => {
    const blocks = Math.ceil(lengthBytes / BLOCK_BYTES);
    // Alone, one replica would read the parts no better than the whole.
    if (blocks <= 1 || seats.length <= 1) {
      onDone(EIO);
      return;
    }
    const half = (blocks >> 1) * BLOCK_BYTES;
    const rest = {
      seats,
      offsetBytes: offsetBytes + half,
      lengthBytes: lengthBytes - half,
      address: address + half,
    };
    readFrom(path, { ...range, lengthBytes: half }, (errno) => {
      if (errno === 0) readFrom(path, rest, onDone);
      else onDone(errno);
    });
  };
  ask(0);
}
