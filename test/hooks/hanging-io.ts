/**
 * The drive whose path stands in the file HOLDFAST_TEST_HUNG hangs as long as it stands there: nothing that it was asked to write or to
 * flush is told as done.
 */

import { readFileSync, readlinkSync } from 'node:fs';

import { type DelayIo, interposeIo } from './interpose-io.ts';

const LOOK_MS = 50;

function isHung(fd: number): boolean {
  try {
    const path = readFileSync(process.env['HOLDFAST_TEST_HUNG'] ?? '', 'utf8');
    return path === readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return false;
  }
}

function deliverWhenSound(fd: number, deliver: () => void, io: DelayIo): void {
  if (isHung(fd)) io.after(LOOK_MS, () => deliverWhenSound(fd, deliver, io));
  else deliver();
}

interposeIo({
  submitted: ({ fd }) => fd,
  completed: ({ token: fd }, deliver, io) => deliverWhenSound(fd, deliver, io),
});
