/**
 * What every rig does around its work: a folder of its own inside the one it is given, an orderly end on Ctrl-C, and the
 * sweep of what a killed run left there.
 */

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { isUsageError } from '../../src/lib/count-option.ts';
import { HOLDFAST } from './installation.ts';
import { numberField, listField } from './json.ts';
import { endRunning, processStartTicks, run } from './processes.ts';

/** Written into every rig's folder: no other folder is ever swept. */
const RECORD_FILE_NAME = 'rig.json';
/** A terminal signals the whole group, and npm and the bootstrap pass the signal on: all of it is one Ctrl-C. */
const SAME_SIGNAL_MS = 500;

type ProcessRecord = { readonly pid: number; readonly startTicks: number };
type RigRecord = { readonly owner: ProcessRecord; readonly processes: readonly ProcessRecord[] };

/** What is to be ended on a signal, last come first. */
const ends: (() => Promise<void>)[] = [];

/** A folder that only this run writes to. */
export class RigFolder {
  readonly path: string;
  readonly #processes: ProcessRecord[] = [];
  readonly #ends: (() => Promise<void>)[] = [];
  #closing: Promise<void> | undefined;

  private constructor(path: string) {
    this.path = path;
    this.#writeRecord();
    atRigEnd(async () => await this.close());
  }

  /** Sweeps what killed runs left in `parent`, then makes a folder there. */
  static async open(parent: string, kind: string): Promise<RigFolder> {
    mkdirSync(parent, { recursive: true });
    await sweep(parent);
    return new RigFolder(mkdtempSync(join(parent, `${kind}-`)));
  }

  /** `end` is called, last come first, before the folder is removed. */
  onClose(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  /** The next run ends this process if we are killed before we could. */
  recordProcess(pid: number | undefined): void {
    const record = pid === undefined ? undefined : processRecord(pid);
    if (record === undefined) return;
    this.#processes.push(record);
    this.#writeRecord();
  }

  /** Ends what runs in it and removes it, or leaves it for inspection. Only the first call counts. */
  async close(options: { readonly keep?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#close(options.keep ?? false);
    await this.#closing;
  }

  async #close(keep: boolean): Promise<void> {
    for (const end of this.#ends.toReversed()) {
      try {
        await end();
      } catch (error) {
        process.stderr.write(`Not ended in order: ${String(error)}\n`);
      }
    }
    if (keep) rmSync(join(this.path, RECORD_FILE_NAME), { force: true });
    else rmSync(this.path, { recursive: true, force: true });
  }

  #writeRecord(): void {
    const owner = processRecord(process.pid);
    if (owner === undefined) throw new Error('There is no /proc here');
    const record: RigRecord = { owner, processes: this.#processes };
    writeFileSync(join(this.path, RECORD_FILE_NAME), JSON.stringify(record));
  }
}

/** Runs a rig's `main` and makes its result the exit status. The first SIGINT, SIGTERM or SIGHUP ends all in order. */
export async function runRig(main: () => Promise<number>): Promise<void> {
  let signalledAtMs: number | undefined;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      const now = performance.now();
      const status = 128 + constants.signals[signal];
      if (signalledAtMs === undefined) {
        signalledAtMs = now;
        void endInOrder(status);
      } else if (now - signalledAtMs > SAME_SIGNAL_MS) {
        // What is left is swept by the next run.
        process.exit(status);
      }
    });
  }
  try {
    process.exitCode = await main();
  } catch (error) {
    // What fails then failed because its parts were ended.
    if (signalledAtMs !== undefined) return;
    const stack = error instanceof Error ? error.stack : undefined;
    const usage = isUsageError(error);
    process.stderr.write(`${usage ? error.message : (stack ?? String(error))}\n`);
    process.exitCode = usage ? 2 : 1;
  }
}

/** `end` is called when a signal ends the rig; harmless if all is ended already. */
export function atRigEnd(end: () => Promise<void>): void {
  ends.push(end);
}

async function endInOrder(status: number): Promise<void> {
  process.stderr.write('Ending in order; Ctrl-C again ends at once\n');
  await endRunning();
  for (const end of ends.toReversed()) {
    try {
      await end();
    } catch (error) {
      process.stderr.write(`Not ended in order: ${String(error)}\n`);
    }
  }
  process.exit(status);
}

/** Ends and removes what runs left in `parent` whose own process is dead. */
async function sweep(parent: string): Promise<void> {
  for (const name of readdirSync(parent)) {
    const folder = join(parent, name);
    const record = readRecord(join(folder, RECORD_FILE_NAME));
    if (record === undefined || lives(record.owner)) continue;
    process.stderr.write(`Sweeping what a killed run left in ${folder}\n`);
    for (const each of record.processes) if (lives(each)) process.kill(each.pid, 'SIGKILL');
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      // `uninstall` refuses what is no installation.
      if (entry.isDirectory()) {
        const args = ['uninstall', '--yes', '--data', join(folder, entry.name)];
        await run(HOLDFAST, args, { finishes: true });
      }
    }
    try {
      rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      process.stderr.write(`Cannot sweep it yet: ${String(error)}\n`);
    }
  }
}

function readRecord(path: string): RigRecord | undefined {
  if (!existsSync(path)) return undefined;
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    const read = (from: unknown, at = ''): ProcessRecord => ({
      pid: numberField(from, `${at}pid`),
      startTicks: numberField(from, `${at}startTicks`),
    });
    return {
      owner: read(value, 'owner.'),
      processes: listField(value, 'processes').map((each) => read(each)),
    };
  } catch {
    // Cut short as it was written, or not ours.
    return undefined;
  }
}

function processRecord(pid: number): ProcessRecord | undefined {
  const startTicks = processStartTicks(pid);
  return startTicks === undefined ? undefined : { pid, startTicks };
}

/** Whether that very process lives: its number may have gone to another since. */
function lives(record: ProcessRecord): boolean {
  return processStartTicks(record.pid) === record.startTicks;
}
