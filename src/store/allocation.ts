/** What of a volume has data, for NBD's base:allocation. */

import { type ExtentMap, NONE } from './extent-map.ts';
import { EXTENT_BLOCKS } from './geometry.ts';
import type { Client } from './piece.ts';

/** Fills `runs` with pairs (blocks, has data) of a client's range; returns the number of pairs. Stops early when it is full. */
export function allocationOf(
  map: ExtentMap,
  client: Client,
  range: { readonly first: number; readonly count: number; readonly runs: Uint32Array },
): number {
  const { runs } = range;
  let pairs = 0;
  let lastState = -1;
  for (let block = range.first; block < range.first + range.count;) {
    const extent = Math.floor(block / EXTENT_BLOCKS);
    const cell = map.single(client.volume, extent);
    let data = cell === NONE ? 0 : map.data;
    if (cell === -1) {
      data = 0;
      let decided = 0;
      for (const version of map.versions(client.volume, extent)) {
        if (client.volume.birthOf(version.era) > client.birthMax) continue;
        data |= version.data & ~decided;
        decided |= version.decided;
      }
    } else if (cell !== NONE && client.volume.birthOf(map.era) > client.birthMax) data = 0;
    const end = Math.min(range.first + range.count, (extent + 1) * EXTENT_BLOCKS);
    for (; block < end; block++) {
      const state = (data >>> (block % EXTENT_BLOCKS)) & 1;
      if (state !== lastState) {
        if ((pairs + 1) * 2 > runs.length) return pairs;
        runs[pairs * 2] = 0;
        runs[pairs * 2 + 1] = state;
        pairs++;
        lastState = state;
      }
      runs[pairs * 2 - 2] = (runs[pairs * 2 - 2] ?? 0) + 1;
    }
  }
  return pairs;
}
