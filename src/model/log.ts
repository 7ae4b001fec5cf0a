/** Log lines: JSON objects for DIR/log and journald, words on a terminal. Cold paths only. */

import { type LogEvent, logEventRow } from './log-events.ts';
import { withoutSecrets } from './secrets.ts';

/** Writes one line: which kind of event of the catalogue, and its details. Never data of users; secrets are left out. */
export type Log = (event: LogEvent, details?: Readonly<Record<string, unknown>>) => void;

/** Lines of one kind in a window: an engine that starts says of each of its 256 volumes that it serves it. */
const LINES_MAX = 300;
const WINDOW_MS = 60_000;

type Window = { beganMs: number; written: number; leftOut: number };

/**
 * A log of one process. `write` gets a line with its newline. Of each kind 300 lines are written in a minute; the first line of any kind
 * after that minute is preceded by one that counts what was left out.
 */
export function openLog(
  role: string,
  options: {
    readonly wallMs: () => number;
    readonly write: (line: string) => void;
    /** For people, who read it as it comes. */
    readonly isTerminal: boolean;
  },
): Log {
  const windows = new Map<LogEvent, Window>();
  const line = (event: LogEvent, details: Readonly<Record<string, unknown>>): void => {
    const at = new Date(options.wallMs()).toISOString();
    const { level, message } = logEventRow(event);
    const own = { at, role, level, event, message };
    const hidden = withoutSecrets(details);
    const text = options.isTerminal
      ? `${at.slice(11, 23)} ${level.padEnd(7)} ${role}: ${message} (${event})${inWords(hidden)}`
      : JSON.stringify({ ...own, ...hidden, ...own });
    options.write(`${text}\n`);
  };
  return (event, details = {}) => {
    const nowMs = options.wallMs();
    for (const [of, window] of windows) {
      if (nowMs >= window.beganMs && nowMs < window.beganMs + WINDOW_MS) continue;
      windows.delete(of);
      if (window.leftOut > 0) line('log.left_out', { of, count: window.leftOut });
    }
    const window = windows.get(event) ?? { beganMs: nowMs, written: 0, leftOut: 0 };
    windows.set(event, window);
    if (window.written < LINES_MAX) {
      window.written++;
      line(event, details);
    } else {
      window.leftOut++;
    }
  };
}

function inWords(details: Readonly<Record<string, unknown>>): string {
  return Object.entries(details)
    .map(([name, value]) => ` ${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join('');
}
