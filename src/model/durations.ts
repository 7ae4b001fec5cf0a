/** Durations as people write them: `45s`, `30m`, `12h`, `30d`, `4w`. */

import { Refusal } from './errors.ts';

const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};
const SHAPE = /^(\d{1,6})([smhdw])$/i;

/** Parses a duration and returns its ms. Throws DURATION_INVALID. */
export function parseDuration(text: string): number {
  const [, count = '', unit = ''] = SHAPE.exec(text.trim()) ?? [];
  const unitMs = UNIT_MS[unit.toLowerCase()];
  if (unitMs === undefined) {
    throw new Refusal('DURATION_INVALID', {
      duration: text.slice(0, 40).replaceAll(/[^\x20-\x7e]/g, '?'),
    });
  }
  return Number(count) * unitMs;
}

/** The shortest words that {@link parseDuration} reads as this many ms, whole seconds: `36h`, `7d`. */
export function durationInWords(ms: number): string {
  const units = ['d', 'h', 'm'].filter((unit) => ms % (UNIT_MS[unit] ?? 1) === 0);
  const unit = units[0] ?? 's';
  return `${Math.round(ms / (UNIT_MS[unit] ?? 1))}${unit}`;
}

/** `3 d`, `5 h`, `12 min`, `40 s`: rounded down, for people. */
export function formatDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds >= 2 * 86_400) return `${Math.floor(seconds / 86_400)} d`;
  if (seconds >= 2 * 3600) return `${Math.floor(seconds / 3600)} h`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min`;
  return `${Math.max(0, seconds)} s`;
}
