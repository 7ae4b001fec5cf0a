/** Tables as wide as they must be. Where a terminal is narrower, their long cells are cut, then columns are left out. */

import { createRequire } from 'node:module';

export type Column = {
  readonly heading: string;
  /** Where there is no room the highest goes first, and 0 stays. */
  readonly rank: number;
  /** Half of it is of no use: it is shown as it is, or not at all. */
  readonly isWhole?: boolean;
  /** Makes a cell look like what it says. */
  readonly paint?: (text: string, cell: string) => string;
};

const GAP = '  ';
/** Cells are cut down to so many places before a column is left out; those of columns that stay, to twice as many. */
const CUT_WIDTH_MIN = 10;

/** The lines of a table in `width` places. */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
): string[] {
  const cells = [columns.map(({ heading }) => heading), ...rows].map((row) =>
    columns.map((_, index) => cellOf(row[index] ?? '')),
  );
  const natural = columns.map((_, index) =>
    cells.reduce((widest, row) => Math.max(widest, row[index]?.width ?? 0), 0),
  );
  const shown = widthsIn(columns, natural, width);
  return cells.map((row, line) =>
    shown
      .map(({ index, places }, at) => {
        const cell = row[index] ?? cellOf('');
        const { text, width: taken } = cut(cell, places);
        const paint = line === 0 ? undefined : columns[index]?.paint;
        const painted = paint === undefined ? text : paint(text, cell.text);
        return at === shown.length - 1 ? painted : painted + ' '.repeat(places - taken);
      })
      .join(GAP),
  );
}

type Shown = { readonly index: number; readonly places: number };

/** The columns that are shown, and how wide each is. */
function widthsIn(
  columns: readonly Column[],
  natural: readonly number[],
  width: number,
): readonly Shown[] {
  let shown = natural.map((places, index) => ({ index, places }));
  const least = ({ index, places }: Shown): number => {
    const { rank = 0, isWhole = false } = columns[index] ?? {};
    return isWhole ? places : Math.min(places, rank === 0 ? 2 * CUT_WIDTH_MIN : CUT_WIDTH_MIN);
  };
  while (total(shown.map(least)) > width) {
    const last = Math.max(...shown.map(({ index }) => columns[index]?.rank ?? 0));
    if (last === 0) break;
    shown = shown.filter(({ index }) => columns[index]?.rank !== last);
  }
  const places = shown.map((each) => each.places);
  for (let excess = total(places) - width; excess > 0; excess--) {
    const room = places.map((now, at) => now - (shown[at] === undefined ? 0 : least(shown[at])));
    const candidates = room.some((each) => each > 0) ? room : places;
    const widest = candidates.indexOf(Math.max(...candidates));
    if ((places[widest] ?? 0) <= 1) break;
    places[widest] = (places[widest] ?? 0) - 1;
  }
  return shown.map(({ index }, at) => ({ index, places: places[at] ?? 0 }));
}

const total = (places: readonly number[]): number =>
  places.reduce((sum, each) => sum + each, 0) + GAP.length * Math.max(0, places.length - 1);

/** What is shown of a text, and in how many places. Found once for each: a list of 10,000 volumes has 70,000. */
type Cell = { readonly text: string; readonly width: number };

function cellOf(text: string): Cell {
  if (PLAIN.test(text)) return { text, width: text.length };
  const shown = printable(text);
  return { text: shown, width: stringWidth(shown) };
}

/** As much of a cell as has room in `places`. */
function cut(cell: Cell, places: number): Cell {
  const { text, width } = cell;
  if (width <= places) return cell;
  if (PLAIN.test(text)) {
    return { text: `${text.slice(0, places - 1)}…`, width: places };
  }
  let kept = '';
  for (const { segment } of (segments ??= new Intl.Segmenter()).segment(text)) {
    if (stringWidth(kept + segment) > places - 1) break;
    kept += segment;
  }
  return cellOf(`${kept}…`);
}

/** It takes 20 ms to make. */
let segments: Intl.Segmenter | undefined;

/** Nearly all that is in tables: its width is its length. */
const PLAIN = /^[\x20-\x7e]*$/;

/** Loaded for the first text that needs it: it takes longer to load than commander, and most tables are plain. */
function stringWidth(text: string): number {
  known ??= (createRequire(import.meta.url)('string-width') as StringWidth).default;
  return known(text);
}

type StringWidth = typeof import('string-width');
let known: StringWidth['default'] | undefined;

/** What would move the cursor, or turn the writing round, is shown as a question mark. */
export const printable = (text: string): string =>
  PLAIN.test(text) ? text : text.replaceAll(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '?');
