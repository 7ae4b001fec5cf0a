/**
 * What the processes of the data plane have in common: their flags (`--data DIR [--io auto|io_uring|node]`), their log on standard
 * error, and their end by a bug.
 */

import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { type Log, openLog } from '../../model/log.ts';
import type { EnvOptions } from './open-env.ts';

/** sysexits.h: EX_SOFTWARE. */
const EXIT_BUG = 70;

/** What a process exits with that was started with wrong flags. */
export const EXIT_USAGE = 2;

export type RoleProcess = {
  readonly log: Log;
  /** Undefined: they are wrong, and the log says how. */
  readonly flags: RoleFlags | undefined;
};

/** `dataDirectory` is absolute. */
export type RoleFlags = { readonly dataDirectory: string; readonly io: EnvOptions['io'] };

/** Opens the log, parses the flags, and from now on lets a bug end this process at once. */
export function openRole(name: string, argv: readonly string[]): RoleProcess {
  const log = openLog(name, {
    wallMs: () => Date.now(),
    write: (line) => process.stderr.write(line),
    isTerminal: process.stderr.isTTY,
  });
  const die = (error: unknown): never => {
    log('process.bug', { error: error instanceof Error ? error.stack : String(error) });
    process.exit(EXIT_BUG);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
  return { log, flags: parseFlags(argv, log) };
}

function parseFlags(argv: readonly string[], log: Log): RoleFlags | undefined {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { data: { type: 'string' }, io: { type: 'string', default: 'auto' } },
    });
    const { data, io } = values;
    if (data === undefined) throw new Error('--data DIR is needed');
    if (io !== 'auto' && io !== 'io_uring' && io !== 'node') {
      throw new Error(`--io is auto, io_uring or node, not "${io}"`);
    }
    return { dataDirectory: path.resolve(data), io };
  } catch (error) {
    log('process.usage', { error: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}
