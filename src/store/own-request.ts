/** Requests of the store itself. */

import { ENOSPC } from '../model/errno.ts';
import { Fault, Refusal } from '../model/errors.ts';
import { formatSize } from '../model/sizes.ts';
import type { DriveParts } from './drive-store.ts';
import { EXTENT_BYTES } from './geometry.ts';
import type { Request, RequestKind } from './piece.ts';
import type { Volume } from './volume.ts';

/** What a request does: bytes of a volume, `address` where they are read to. */
export type OwnRequest = {
  readonly kind: RequestKind;
  readonly offset: number;
  readonly end: number;
  readonly address?: number;
};

/** Does one request of the store's own, and of a change a flush; resolves with its errno. It leaves no mark. */
export function ownRequest(
  { core, turns }: Pick<DriveParts, 'core' | 'turns'>,
  volume: Volume,
  own: OwnRequest,
): Promise<number> {
  return new Promise((resolve) => {
    const request: Request = core.request();
    request.client = { volume, birthMax: Infinity, onDone: () => undefined };
    request.kind = own.kind;
    request.offset = own.offset;
    request.end = own.end;
    request.address = own.address ?? 0;
    request.fua = own.kind !== 'read';
    request.number = 0;
    request.stamp = 0;
    request.done = (result) => {
      turns.yieldTurn();
      resolve(result);
    };
    core.submit(request);
  });
}

/** Frees a part of a volume, durably. Throws a Refusal DRIVE_FULL where snapshots hold it and no cell is left, and a Fault. */
export async function freeRange(
  parts: DriveParts,
  volume: Volume,
  own: OwnRequest & { readonly kind: 'trim' | 'zero' },
): Promise<void> {
  const errno = await ownRequest(parts, volume, own);
  if (errno === ENOSPC)
    throw new Refusal('DRIVE_FULL', {
      drive: parts.path,
      // A trim over a snapshot takes a cell.
      size: formatSize(EXTENT_BYTES),
      free: formatSize(0),
    });
  if (errno !== 0) throw new Fault('DRIVE_IO', { drive: parts.path, problem: `errno ${errno}` });
}
