/** Log lines as JSON objects, for DIR/log. Cold paths only. */

export type LogLevel = 'info' | 'warning' | 'error';

/** Writes one line: what happened, in a few words, and its details. Never secrets, never data of users. */
export type Log = (
  level: LogLevel,
  event: string,
  details?: Readonly<Record<string, unknown>>,
) => void;

/** A log of one process. `write` gets a line with its newline. */
export function jsonLog(
  role: string,
  options: { readonly wallMs: () => number; readonly write: (line: string) => void },
): Log {
  return (level, event, details = {}) => {
    const at = new Date(options.wallMs()).toISOString();
    options.write(`${JSON.stringify({ at, role, level, event, ...details })}\n`);
  };
}
