/** Measures one row on one target once. */

import { availableParallelism } from 'node:os';
import { fio, type Target } from './lib/fio.ts';
import { cpuSeconds, machineBusySeconds } from './lib/processes.ts';
import { rowArgs, type Row } from './rows.ts';

export type Sample = {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly latencyP50Us: number;
  readonly latencyP99Us: number;
  /** CPU of the server's processes (of fio for the raw file) for one operation; NaN if one of them died. Flushes belong to their writes. */
  readonly cpuUsPerIo: number;
  /** Share of the machine that neither fio nor the server used, kernel threads included: the noise. 0 to 1. */
  readonly foreignShare: number;
};

export type MeasureOptions = {
  readonly target: Target;
  readonly serverPids: readonly number[];
  readonly seconds: number;
};

/** Runs fio once and charges the CPU time that the server's processes took meanwhile. */
export async function measureRow(row: Row, options: MeasureOptions): Promise<Sample> {
  const startMs = performance.now();
  const busyBefore = machineBusySeconds();
  const serverBefore = cpuSeconds(options.serverPids);
  const result = await fio(options.target, rowArgs(row, options.target, options.seconds));
  const serverSeconds = cpuSeconds(options.serverPids) - serverBefore;
  const busySeconds = machineBusySeconds() - busyBefore;
  const elapsedSeconds = (performance.now() - startMs) / 1000;

  const direction = result[row.direction];
  const charged = options.serverPids.length > 0 ? serverSeconds : result.cpuSeconds;
  const foreign = busySeconds - serverSeconds - result.cpuSeconds;
  return {
    iops: direction.iops,
    bytesPerSecond: direction.bytesPerSecond,
    latencyP50Us: direction.percentilesUs.get('50.000000') ?? Number.NaN,
    latencyP99Us: direction.percentilesUs.get('99.000000') ?? Number.NaN,
    cpuUsPerIo: (charged * 1e6) / Math.max(1, direction.ioCount),
    foreignShare: Math.max(0, foreign / elapsedSeconds / availableParallelism()),
  };
}
