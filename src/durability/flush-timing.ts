/** Times single writes with and without fdatasync, on a file that is written in full first. */

import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  openSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { type DeviceFacts, readFlushCount } from './device-facts.ts';

export type FlushTiming = {
  readonly flushCount: number;
  /** Median and least time of one fdatasync after one 4 KiB write, microseconds. */
  readonly flushMedianUs: number;
  readonly flushLeastUs: number;
  readonly writeMedianUs: number;
  readonly direct: boolean;
  /** Flush requests that the device itself completed meanwhile; others on the machine may have added some. */
  readonly deviceFlushCount?: number;
};

const BLOCK_BYTES = 4096;
const FILE_BLOCKS = 1024;
const FLUSH_COUNT = 256;
/** A rotating disk does about 100 flushes a second: stop after this long, with what there is. */
const TIME_LIMIT_MS = 5000;

/** Measures in `folder`, with a file of 4 MiB that it removes. Throws if the folder cannot be written. */
export function timeFlushes(folder: string, facts: DeviceFacts): FlushTiming {
  const path = join(folder, `holdfast-flush-${process.pid}.tmp`);
  // The memory of a WebAssembly.Memory is page-aligned, as O_DIRECT needs it.
  const block = Buffer.from(new WebAssembly.Memory({ initial: 1 }).buffer, 0, BLOCK_BYTES).fill(
    0x5a,
  );
  const { fd, direct } = openDirect(path);
  try {
    for (let index = 0; index < FILE_BLOCKS; index++)
      writeSync(fd, block, 0, BLOCK_BYTES, index * BLOCK_BYTES);
    fsyncSync(fd);
    const before = facts.device === undefined ? undefined : readFlushCount(facts.device);
    const writesUs: number[] = [];
    const flushesUs: number[] = [];
    const endMs = performance.now() + TIME_LIMIT_MS;
    for (let index = 0; index < FLUSH_COUNT && performance.now() < endMs; index++) {
      block.writeUInt32LE(index);
      const startMs = performance.now();
      writeSync(fd, block, 0, BLOCK_BYTES, ((index * 397) % FILE_BLOCKS) * BLOCK_BYTES);
      const writtenMs = performance.now();
      fdatasyncSync(fd);
      flushesUs.push((performance.now() - writtenMs) * 1000);
      writesUs.push((writtenMs - startMs) * 1000);
    }
    const after = facts.device === undefined ? undefined : readFlushCount(facts.device);
    return {
      flushCount: flushesUs.length,
      flushMedianUs: middle(flushesUs),
      flushLeastUs: Math.min(...flushesUs),
      writeMedianUs: middle(writesUs),
      direct,
      ...(before === undefined || after === undefined ? {} : { deviceFlushCount: after - before }),
    };
  } finally {
    closeSync(fd);
    rmSync(path, { force: true });
  }
}

function openDirect(path: string): { fd: number; direct: boolean } {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
  try {
    return { fd: openSync(path, flags | constants.O_DIRECT, 0o600), direct: true };
  } catch {
    // Some file systems have no O_DIRECT; a refused open may have left the file behind.
    rmSync(path, { force: true });
    return { fd: openSync(path, flags, 0o600), direct: false };
  }
}

function middle(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
