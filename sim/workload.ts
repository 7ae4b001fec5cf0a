/** Draws the requests of a client by a plan. */

import type { Prng } from '../src/lib/prng.ts';
import { BLOCK_BYTES, REQUEST_BYTES_MAX } from '../src/model/block-target.ts';
import type { Client, Request } from './client.ts';
import type { Plan } from './plan.ts';

/** Draws one request for `client`. */
export function drawRequest(prng: Prng, plan: Plan, client: Client): Request {
  const kind = drawKind(prng, plan);
  if (kind === 'flush') return { kind };
  const volumeBytes = client.model.sizeBytes;
  if (kind === 'read') {
    const range = drawRange(prng, plan, {
      volumeBytes,
      alignBytes: BLOCK_BYTES,
      most: plan.requestBytesMax,
    });
    return {
      kind,
      firstBlock: range.offsetBytes / BLOCK_BYTES,
      blockCount: range.lengthBytes / BLOCK_BYTES,
    };
  }
  const most = kind === 'write' || prng.chance(80) ? plan.requestBytesMax : volumeBytes;
  let range = drawRange(prng, plan, { volumeBytes, alignBytes: plan.alignBytes, most });
  if (!client.mayTouch(range.offsetBytes, range.lengthBytes)) {
    const offsetBytes = Math.floor(range.offsetBytes / 512) * 512;
    const end = Math.ceil((range.offsetBytes + range.lengthBytes) / 512) * 512;
    range = { offsetBytes, lengthBytes: Math.min(end - offsetBytes, Math.max(most, 512)) };
  }
  const fua = prng.chance(plan.fuaPercent);
  if (kind === 'zero') return { kind, ...range, fua, allocate: prng.chance(50) };
  return { kind, ...range, fua };
}

function drawKind(prng: Prng, plan: Plan): Request['kind'] {
  const { read, write, zero, trim, flush } = plan.weights;
  let at = prng.below(read + write + zero + trim + flush);
  if ((at -= read) < 0) return 'read';
  if ((at -= write) < 0) return 'write';
  if ((at -= zero) < 0) return 'zero';
  if ((at -= trim) < 0) return 'trim';
  return 'flush';
}

function drawRange(
  prng: Prng,
  plan: Plan,
  bounds: { readonly volumeBytes: number; readonly alignBytes: number; readonly most: number },
): { readonly offsetBytes: number; readonly lengthBytes: number } {
  const { alignBytes } = bounds;
  const hot = prng.chance(plan.hotPercent);
  const span = Math.max(
    BLOCK_BYTES,
    Math.ceil(bounds.volumeBytes / (hot ? 8 : 1) / BLOCK_BYTES) * BLOCK_BYTES,
  );
  const area = Math.min(span, bounds.volumeBytes);
  const most = Math.min(
    bounds.most,
    REQUEST_BYTES_MAX > bounds.most ? bounds.most : bounds.volumeBytes,
    area,
  );
  // Small requests are as frequent as large ones; whole extents come up often enough.
  const wanted = prng.pick([alignBytes, BLOCK_BYTES, 65_536, 1 + prng.below(most), most]);
  const lengthBytes = Math.max(
    alignBytes,
    Math.min(most, Math.ceil(wanted / alignBytes) * alignBytes),
  );
  const places = Math.floor((area - lengthBytes) / alignBytes) + 1;
  let offsetBytes = prng.below(places) * alignBytes;
  if (wanted >= 65_536 && prng.chance(70)) offsetBytes -= offsetBytes % 65_536;
  return { offsetBytes, lengthBytes };
}
