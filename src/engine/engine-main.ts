/**
 * The engine's process: `main.ts engine --data DIR [--io auto|io_uring|node]`. Puts Env, guards and engine together. SIGTERM and
 * SIGINT end it in order (exit 0); a bug ends it at once (exit 70), to be started again by the supervisor.
 */

import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

import { applyProcessGuards } from '../env/node/process-guards.ts';
import { type EnvOptions, openEnv } from '../env/node/open-env.ts';
import { Arena } from '../lib/arena.ts';
import { type Log, jsonLog } from '../lib/json-log.ts';
import type { JsonObject } from '../wire/line-protocol.ts';
import { ENGINE_MEMORY_BYTES, Engine } from './engine.ts';
import type { DriveListEntry } from './drives.ts';

const EXIT_USAGE = 2;
/** sysexits.h: EX_SOFTWARE. */
const EXIT_BUG = 70;

/** Runs the engine until it is told to end. Returns the exit status. */
export async function engineMain(argv: readonly string[]): Promise<number> {
  const log = jsonLog('engine', {
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
  return run(flags, log);
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

async function run(flags: Flags, log: Log): Promise<number> {
  const env = openEnv({ io: flags.io, memoryBytes: ENGINE_MEMORY_BYTES + 65_536 });
  const warnings = applyProcessGuards({ io: env.io, ioFlusher: true });
  for (const warning of warnings) log('warning', warning);
  const engine = new Engine(env, {
    arena: new Arena(env.io.memory),
    log,
    version: readVersion(),
    io: { ...env.ioChoice },
    warnings,
    processStats: makeProcessStats(),
    runDirectory: makeRunDirectory(flags.dataDirectory),
    drives: readDriveList(path.join(flags.dataDirectory, 'engine.json')),
    onShutdown: () => void end(),
  });
  const running = env.io.run();
  let ending = false;
  const end = async (): Promise<void> => {
    if (ending) return;
    ending = true;
    await engine.stop();
    await engine.disconnect();
    env.io.stop();
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      log('info', 'ending', { signal });
      void end();
    });
  }
  await engine.start();
  log('info', 'engine ready', { pid: process.pid, io: env.ioChoice });
  await running;
  log('info', 'engine ended');
  return 0;
}

/** DIR/run, or what it points to: sockets have paths of at most 107 bytes. */
function makeRunDirectory(dataDirectory: string): string {
  const link = path.join(dataDirectory, 'run');
  fs.mkdirSync(link, { recursive: true, mode: 0o700 });
  const directory = fs.realpathSync(link);
  fs.mkdirSync(path.join(directory, 'nbd'), { recursive: true, mode: 0o700 });
  return directory;
}

/** engine.json: {"version":1,"drives":[{"driveId","path"}]}. No file is no drives; a file that is none is a reason not to start. */
function readDriveList(file: string): DriveListEntry[] {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
  const list: unknown = JSON.parse(text);
  if (typeof list !== 'object' || list === null || !('version' in list) || list.version !== 1) {
    throw new Error(`"${file}" is no drive list of version 1`);
  }
  const entries: unknown[] = 'drives' in list && Array.isArray(list.drives) ? list.drives : [];
  return entries.map((entry) => {
    if (
      typeof entry !== 'object' ||
      entry === null ||
      !('driveId' in entry && typeof entry.driveId === 'string') ||
      !('path' in entry && typeof entry.path === 'string')
    ) {
      throw new Error(`"${file}" has a drive without "driveId" and "path"`);
    }
    return { driveId: entry.driveId, path: entry.path };
  });
}

function readVersion(): string {
  const text = fs.readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  const manifest: unknown = JSON.parse(text);
  if (typeof manifest === 'object' && manifest !== null && 'version' in manifest) {
    return String(manifest.version);
  }
  return 'unknown';
}

function makeProcessStats(): () => JsonObject {
  const startMs = performance.now();
  return () => ({
    pid: process.pid,
    uptimeMs: Math.round(performance.now() - startMs),
    memory: process.memoryUsage(),
    cpuUs: process.cpuUsage(),
  });
}
