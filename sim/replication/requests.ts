/** What clients of the simulation ask: at random, or from a list. */

import { Prng } from '../../src/lib/prng.ts';
import type { World } from '../world.ts';
import type { Asked } from './scenario.ts';
import { EXTENT_BLOCKS } from './sim-media.ts';

type Kind = 'write' | 'zero' | 'trim' | 'read' | 'flush';

/** What a request is about. */
export type Drawn = {
  readonly kind: Kind;
  readonly firstBlock: number;
  readonly count: number;
  readonly fua: boolean;
};

export type RequestMix = {
  readonly sizeBlocks: number;
  /** Percent of writes to a few blocks that all meet on. */
  readonly hotPercent: number;
  /** Percent of requests. */
  readonly flushPercent: number;
  /** Percent that are reads, before all others are drawn. */
  readonly readPercent?: number;
};

/** The requests of a history, whichever client asks them. */
export class Requests {
  readonly #next: (sizeBlocks: number) => Asked;
  readonly asked: Asked[] = [];
  left: number;
  onAsk: () => void = () => undefined;
  /** Until then nobody asks for anything: what others miss meanwhile is not written over. */
  restUntilUs = 0;

  /** These; or as many as `drawn` says, at random. */
  constructor(source: readonly Asked[]);
  constructor(source: Prng, drawn: Omit<RequestMix, 'sizeBlocks'> & { readonly count: number });
  constructor(
    source: Prng | readonly Asked[],
    drawn = { count: 0, hotPercent: 0, flushPercent: 0 },
  ) {
    if (source instanceof Prng) {
      this.left = drawn.count;
      this.#next = (sizeBlocks) => ({ ...drawRequest(source, { ...drawn, sizeBlocks }), atUs: 0 });
    } else {
      this.left = source.length;
      this.#next = () => source[this.asked.length]!;
    }
  }

  /** The next one; undefined: there is none now. `onDue` is called when there may be one again. */
  take(world: World, sizeBlocks: number, onDue: () => void): Drawn | undefined {
    if (this.left === 0) return undefined;
    if (world.nowUs < this.restUntilUs) {
      world.schedule(this.restUntilUs - world.nowUs, onDue);
      return undefined;
    }
    const next = this.#next(sizeBlocks);
    if (next.atUs > world.nowUs) {
      // After everything of that microsecond, which may ask by itself.
      world.schedule(next.atUs - world.nowUs + 0.5, onDue);
      return undefined;
    }
    this.left--;
    this.asked.push({ ...next, atUs: world.nowUs });
    this.onAsk();
    return next;
  }
}

/** The next request of a client. */
export function drawRequest(prng: Prng, mix: RequestMix): Drawn {
  const kind = drawKind(prng, mix);
  return { kind, ...drawRange(prng, kind, mix), fua: kind === 'write' && prng.chance(5) };
}

function drawKind(prng: Prng, { readPercent = 0, flushPercent }: RequestMix): Kind {
  if (prng.chance(readPercent)) return 'read';
  if (prng.chance(flushPercent)) return 'flush';
  const draw = prng.below(90);
  if (draw < 50) return 'write';
  if (draw < 80) return 'read';
  return draw < 86 ? 'trim' : 'zero';
}

function drawRange(
  prng: Prng,
  kind: Kind,
  { sizeBlocks, hotPercent }: RequestMix,
): Pick<Drawn, 'firstBlock' | 'count'> {
  if (kind === 'flush') return { firstBlock: 0, count: 0 };
  const at = prng.chance(hotPercent) ? prng.below(4) : prng.below(sizeBlocks);
  // Extents that hold nothing any more are told apart from those that nobody wrote to.
  const isWhole = kind === 'trim' && prng.chance(60);
  const firstBlock = isWhole ? at - (at % EXTENT_BLOCKS) : at;
  const length = isWhole ? EXTENT_BLOCKS : 1 + prng.below(prng.chance(20) ? 40 : 4);
  return { firstBlock, count: Math.min(length, sizeBlocks - firstBlock) };
}
