/**
 * The attacher's process: `main.ts attacher --data DIR [--io auto|io_uring|node]`. SIGTERM ends it in order (exit 0) unless a
 * device is in use; a bug ends it at once (exit 70), to be swept and started again by the supervisor.
 */

import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import type { EnvOptions } from '../env/node/open-env.ts';
import { type Log, jsonLog } from '../lib/json-log.ts';
import { runAttacher } from './attacher.ts';

const EXIT_USAGE = 2;
/** sysexits.h: EX_SOFTWARE. */
const EXIT_BUG = 70;

/** Runs the attacher until it is told to end. Returns the exit status. */
export async function attacherMain(argv: readonly string[]): Promise<number> {
  const log = jsonLog('attacher', {
    wallMs: () => Date.now(),
    write: (line) => process.stderr.write(line),
  });
  const flags = parseFlags(argv, log);
  if (flags === undefined) return EXIT_USAGE;
  const die = (error: unknown): never => {
    log('error', 'bug', { error: error instanceof Error ? error.stack : String(error) });
    process.exit(EXIT_BUG);
  };
  process.on('uncaughtException', die);
  process.on('unhandledRejection', die);
  const runDir = makeRunDirectory(flags.dataDirectory);
  const status = await runAttacher({ runDir, io: flags.io, version: readVersion(), log });
  log('info', 'attacher ended');
  return status;
}

type Flags = { readonly dataDirectory: string; readonly io: EnvOptions['io'] };

function parseFlags(argv: readonly string[], log: Log): Flags | undefined {
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
    log('error', 'usage', { error: error instanceof Error ? error.message : String(error) });
    return undefined;
  }
}

/** DIR/run, or what it points to: sockets have paths of at most 107 bytes. */
function makeRunDirectory(dataDirectory: string): string {
  const link = path.join(dataDirectory, 'run');
  fs.mkdirSync(link, { recursive: true, mode: 0o700 });
  return fs.realpathSync(link);
}

function readVersion(): string {
  const text = fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const manifest: unknown = JSON.parse(text);
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown';
}
