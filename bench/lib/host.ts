/** The machine that measures: its caches, its free space, its noise and its name in the results. */

import { readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { run, machineBusySeconds, sleep } from './processes.ts';

/** Writes back and drops the page cache. Returns false where the kernel refuses (not root). */
export async function dropPageCache(): Promise<boolean> {
  await run('sync', []);
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
    return true;
  } catch {
    return false;
  }
}

export function freeBytes(folder: string): number {
  const status = statfsSync(folder);
  return status.bavail * status.bsize;
}

/** Refuses to begin what would fill the disk: `neededBytes` and a tenth more must be free. */
export function requireFreeBytes(folder: string, neededBytes: number): void {
  const free = freeBytes(folder);
  if (free < neededBytes * 1.1) {
    throw new Error(
      `Cannot measure in "${folder}": ${gib(neededBytes * 1.1)} GiB needed, ${gib(free)} GiB free`,
    );
  }
}

/**
 * Waits until the machine has been quiet (less than a quarter of one processor busy) for half a second, at most
 * `limitMs`. What a server still does in the background after one row must not be charged to the next.
 */
export async function settle(limitMs = 8000): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (performance.now() < endMs) {
    const before = machineBusySeconds();
    await sleep(500);
    if (machineBusySeconds() - before < 0.125) return;
  }
}

export type HostFacts = {
  readonly cpu: string;
  readonly cpuCount: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly fileSystem: string;
};

export async function hostFacts(folder: string): Promise<HostFacts> {
  const found = await run('findmnt', ['-no', 'SOURCE,FSTYPE,OPTIONS', '--target', folder]);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpuCount: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    fileSystem: found.exitCode === 0 ? found.stdout.trim() : 'unknown',
  };
}

/** Flush requests that the disk under `folder` has completed since boot, or undefined where the kernel does not say. */
export async function deviceFlushCount(folder: string): Promise<number | undefined> {
  const found = await run('findmnt', ['-no', 'MAJ:MIN', '--target', folder]);
  try {
    const fields = readFileSync(`/sys/dev/block/${found.stdout.trim()}/stat`, 'latin1');
    // Documentation/block/stat.rst: field 16 is "flush I/Os", requests of the block layer's flush machinery.
    const flushes = fields.trim().split(/\s+/u)[15];
    return flushes === undefined ? undefined : Number(flushes);
  } catch {
    return undefined;
  }
}

function gib(bytes: number): string {
  return (bytes / 2 ** 30).toFixed(1);
}
