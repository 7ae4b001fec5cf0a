/**
 * The engine's process: `main.ts engine --data DIR [--io auto|io_uring|node]`. Puts Env, guards and engine together. SIGTERM and
 * SIGINT end it in order (exit 0); a bug ends it at once (exit 70), to be started again by the supervisor.
 */

import fs from 'node:fs';
import path from 'node:path';

import { tellServiceManager } from '../env/linux/service-notice.ts';
import { openCipher } from '../env/node/cipher.ts';
import { readNode, readNodeIdentity } from '../env/node/node-identity.ts';
import { openEnv } from '../env/node/open-env.ts';
import { packageVersion } from '../env/node/package-version.ts';
import type { Env } from '../env/env.ts';
import { applyProcessGuards } from '../env/node/process-guards.ts';
import { LOOP_LOOK_MS, ProcessWatch } from '../env/node/process-watch.ts';
import { EXIT_USAGE, type RoleFlags, openRole } from '../env/node/role-process.ts';
import { makeRunDirectory } from '../env/node/run-directory.ts';
import { Arena } from '../lib/arena.ts';
import { Refusal } from '../model/errors.ts';
import type { Log } from '../model/log.ts';
import { ENGINE_MEMORY_BYTES, Engine } from './engine.ts';
import type { DriveListEntry } from './drives.ts';
import { type EngineNode, PEERS_MEMORY_BYTES } from './peers/peers.ts';

/** Runs the engine until it is told to end. Returns the exit status. */
export async function engineMain(argv: readonly string[]): Promise<number> {
  const { log, flags } = openRole('engine', argv);
  return flags === undefined ? EXIT_USAGE : run(flags, log);
}

async function run(flags: RoleFlags, log: Log): Promise<number> {
  const { node, problem } = openNode(flags.dataDirectory);
  const peersBytes = node === undefined ? 0 : PEERS_MEMORY_BYTES;
  const env = openEnv({ io: flags.io, memoryBytes: ENGINE_MEMORY_BYTES + peersBytes + 65_536 });
  const warnings = applyProcessGuards(env.io);
  for (const warning of warnings) log('process.guard', { warning });
  if (problem !== undefined) {
    log('peer.not_listening', { problem });
    warnings.push(problem);
  }
  const watch = new ProcessWatch(byReactor(env));
  const engine = new Engine(env, {
    arena: new Arena(env.io.memory),
    log,
    version: packageVersion(),
    io: { ...env.ioChoice },
    warnings,
    pid: process.pid,
    processStats: () => ({ ...watch.stats() }),
    runDirectory: makeRunDirectory(flags.dataDirectory),
    drives: readDriveList(path.join(flags.dataDirectory, 'engine.json')),
    node: node && { ...node, cipher: openCipher(env.io.memory, { by: 'auto' }) },
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
      log('process.ending', { signal });
      void end();
    });
  }
  await engine.start();
  tellServiceManager('READY=1');
  log('engine.ready', { pid: process.pid, io: env.ioChoice });
  await running;
  log('engine.ended');
  return 0;
}

type OpenedNode = {
  readonly node: Pick<EngineNode, 'self' | 'identity'> | undefined;
  /** Why there is none although there should be one. Its own drives it serves all the same. */
  readonly problem: string | undefined;
};

function openNode(dataDirectory: string): OpenedNode {
  try {
    const self = readNode(dataDirectory);
    const node = self && { self, identity: readNodeIdentity(dataDirectory, self) };
    return { node, problem: undefined };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { node: undefined, problem: error.message };
  }
}

/** engine.json: {"version":1,"drives":[{"driveId","path","generation"?}]}. No file is no drives; a file that is none is a reason not to start. */
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
    const generation = 'generation' in entry ? Number(entry.generation) : 0;
    const { driveId } = entry;
    return { driveId, path: path.resolve(path.dirname(file), entry.path), generation };
  });
}

/** By the reactor, which is the loop that I/O waits for. */
function byReactor({ io }: Env): ConstructorParameters<typeof ProcessWatch>[0] {
  return (onTick) => {
    let dueUs = 0;
    const port = io.port((_, result) => {
      if (result !== 0) return;
      onTick(io.nowUs() - dueUs);
      arm();
    });
    const arm = (): void => {
      dueUs = io.nowUs() + LOOP_LOOK_MS * 1000;
      io.timer(port, 0, LOOP_LOOK_MS);
    };
    arm();
  };
}
