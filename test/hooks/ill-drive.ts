/**
 * Drives whose paths stand in the file HOLDFAST_TEST_ILL, one a line after what they have, as long as they stand there. `hangs`: nothing that
 * it was asked to write or to flush is told as done; `slow`: flushes take 300 ms longer; `fails`: writes and flushes end with EIO.
 */

import { readFileSync, readlinkSync } from 'node:fs';

import { EIO } from '../../src/model/errno.ts';
import { type DelayIo, type Deliver, interposeIo } from './interpose-io.ts';

const LOOK_MS = 50;
const SLOW_MS = 300;

function illnessOf(fd: number): string | undefined {
  try {
    const lines = readFileSync(process.env['HOLDFAST_TEST_ILL'] ?? '', 'utf8').split('\n');
    const path = readlinkSync(`/proc/self/fd/${fd}`);
    return lines.find((line) => line.endsWith(` ${path}`))?.split(' ')[0];
  } catch {
    return undefined;
  }
}

function deliverWhenSound(fd: number, deliver: Deliver, io: DelayIo): void {
  if (illnessOf(fd) === 'hangs') io.after(LOOK_MS, () => deliverWhenSound(fd, deliver, io));
  else deliver();
}

interposeIo({
  submitted: ({ fd }) => fd,
  completed: ({ token: fd, kind }, deliver, io) => {
    const illness = illnessOf(fd);
    if (illness === 'fails') deliver(-EIO);
    else if (illness === 'slow' && kind === 'flush') io.after(SLOW_MS, deliver);
    else deliverWhenSound(fd, deliver, io);
  },
});
