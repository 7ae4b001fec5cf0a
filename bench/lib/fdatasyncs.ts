/**
 * Counts the fdatasyncs of a process from outside: by the kernel's trace points, where perf may be used, and by the flush
 * requests that the disk completed. The engine's own counters are not asked: they are what is being checked.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deviceFlushCount } from './host.ts';
import { run, sleep, startProcess } from './processes.ts';

export type FlushCounts = {
  /** fdatasync and fsync calls and IORING_OP_FSYNC submissions; undefined where perf may not count them. */
  readonly calls?: number;
  /** Flush requests that the disk completed, of the whole machine; undefined where the kernel does not say. */
  readonly device?: number;
};

/** IORING_OP_FSYNC in include/uapi/linux/io_uring.h. */
const OPCODE_FSYNC = 3;
const EVENTS = [
  ['-e', 'io_uring:io_uring_submit_req', '--filter', `opcode==${OPCODE_FSYNC}`],
  ['-e', 'syscalls:sys_enter_fdatasync'],
  ['-e', 'syscalls:sys_enter_fsync'],
].flat();

/** Runs `work` and counts what `pid` flushed meanwhile. `folder` is on the disk to look at. */
export async function countFlushes<T>(
  of: { readonly pid: number; readonly folder: string },
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly flushes: FlushCounts }> {
  const scratch = mkdtempSync(join(tmpdir(), 'holdfast-perf-'));
  const output = join(scratch, 'counts');
  try {
    const perf = (await perfWorks())
      ? startProcess('perf', ['stat', '-x,', '-o', output, ...EVENTS, '-p', String(of.pid)], {
          logPath: join(scratch, 'log'),
        })
      : undefined;
    // perf attaches to every thread of the process: give it the time to.
    await sleep(perf === undefined ? 0 : 1000);
    const before = await deviceFlushCount(of.folder);
    const result = await work();
    const after = await deviceFlushCount(of.folder);
    if (perf !== undefined) {
      const ended = new Promise<void>((resolve) => perf.once('exit', () => resolve()));
      // perf stat prints its counts on SIGINT.
      perf.kill('SIGINT');
      await ended;
    }
    return {
      result,
      flushes: {
        ...(perf === undefined ? {} : { calls: sumOfCounts(readFileSync(output, 'utf8')) }),
        ...(before === undefined || after === undefined ? {} : { device: after - before }),
      },
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function perfWorks(): Promise<boolean> {
  try {
    return (await run('perf', ['stat', '-x,', ...EVENTS, 'true'])).exitCode === 0;
  } catch {
    return false;
  }
}

/** perf stat -x,: a line "count,unit,event,…" for each event; "<not counted>" where it never happened. */
function sumOfCounts(text: string): number {
  let sum = 0;
  for (const line of text.split('\n')) sum += Number.parseInt(line, 10) || 0;
  return sum;
}
