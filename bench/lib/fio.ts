/** Runs fio on a target and reads its JSON. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { field, numberField, numberFields, optionalField } from './json.ts';
import { run } from './processes.ts';

/** What fio reads and writes. */
export type Target =
  | { readonly kind: 'file'; readonly path: string; readonly sizeBytes: number }
  | { readonly kind: 'nbd'; readonly uri: string; readonly sizeBytes: number }
  | {
      readonly kind: 'rbd';
      /** Of the cluster: where its monitor is. */
      readonly configPath: string;
      readonly pool: string;
      readonly image: string;
      readonly sizeBytes: number;
    };

export type Direction = {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly ioCount: number;
  readonly latencyMeanUs: number;
  readonly latencyMaxUs: number;
  /** Completion latency in microseconds by percentile as fio names it, e.g. '99.900000'. */
  readonly percentilesUs: ReadonlyMap<string, number>;
};

export type FioResult = {
  readonly read: Direction;
  readonly write: Direction;
  readonly flushCount: number;
  /** CPU seconds of fio itself, in user and system mode. */
  readonly cpuSeconds: number;
};

/** fio's arguments that name `target`: the raw file by io_uring with O_DIRECT, NBD by fio's own client, Ceph's images by librbd within fio. */
function targetArgs(target: Target): string[] {
  switch (target.kind) {
    case 'file':
      return ['--ioengine=io_uring', '--direct=1', `--filename=${target.path}`];
    case 'nbd':
      return ['--ioengine=nbd', `--uri=${target.uri}`];
    case 'rbd':
      return ['--ioengine=rbd', `--pool=${target.pool}`, `--rbdname=${target.image}`];
  }
}

/** fio's argument for a flush after each write. fio's nbd and rbd engines know fsync only (with nbd fdatasync ends in EINVAL). */
export function flushEachWriteArgs(target: Target): string[] {
  return [target.kind === 'file' ? '--fdatasync=1' : '--fsync=1'];
}

/** Runs fio once. Throws with fio's words if it or any of its jobs failed. */
export async function fio(target: Target, args: readonly string[]): Promise<FioResult> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-fio-'));
  const output = join(folder, 'out.json');
  try {
    const words = [
      '--name=bench',
      '--randrepeat=0',
      '--group_reporting=1',
      `--size=${target.sizeBytes}`,
      '--output-format=json',
      `--output=${output}`,
      ...targetArgs(target),
      ...args,
    ];
    const cluster = target.kind === 'rbd' ? { CEPH_CONF: target.configPath } : {};
    const result = await run('fio', words, { env: { ...process.env, ...cluster } });
    const text = result.exitCode === 0 ? readFileSync(output, 'utf8') : '';
    if (text === '')
      throw new Error(`fio ended with ${result.exitCode}: ${result.stderr.slice(-1000)}`);
    return parseFio(text);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes the whole target once with random bytes and flushes it. */
export async function fillTarget(target: Target): Promise<void> {
  await fio(target, [
    '--rw=write',
    '--bs=1M',
    '--iodepth=8',
    '--end_fsync=1',
    '--refill_buffers=1',
  ]);
}

/** Runs every path of the server once: what is measured is its steady state, not the compilation of its code. */
export async function warmUp(target: Target): Promise<void> {
  const args = ['--rw=randrw', '--bs=4k', '--iodepth=32', '--time_based', '--runtime=1'];
  await fio(target, [...args, '--norandommap']);
}

/** Reads fio's JSON with --group_reporting. Throws if the group reports an error. */
export function parseFio(text: string): FioResult {
  // fio may print warnings before the JSON.
  const job = field(JSON.parse(text.slice(text.indexOf('{'))), 'jobs.0');
  const error = numberField(job, 'error');
  if (error !== 0) throw new Error(`fio reported error ${error}`);
  const seconds = numberField(job, 'job_runtime') / 1000;
  const cpuPercent = numberField(job, 'usr_cpu') + numberField(job, 'sys_cpu');
  const flushes = optionalField(optionalField(job, 'sync'), 'total_ios');
  return {
    read: direction(field(job, 'read')),
    write: direction(field(job, 'write')),
    flushCount: typeof flushes === 'number' ? flushes : 0,
    cpuSeconds: (cpuPercent / 100) * seconds,
  };
}

function direction(from: unknown): Direction {
  const latency = field(from, 'clat_ns');
  const percentiles = Object.entries(numberFields(optionalField(latency, 'percentile')));
  return {
    iops: numberField(from, 'iops'),
    bytesPerSecond: numberField(from, 'bw_bytes'),
    ioCount: numberField(from, 'total_ios'),
    latencyMeanUs: numberField(latency, 'mean') / 1000,
    latencyMaxUs: numberField(latency, 'max') / 1000,
    percentilesUs: new Map(percentiles.map(([name, ns]) => [name, ns / 1000])),
  };
}
