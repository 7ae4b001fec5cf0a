/** A clock that also counts while the machine is suspended: what was granted for a second is over after one, wherever that was spent. */

import process from 'node:process';

import { openFfi } from '../ffi.ts';

/** Linux: CLOCK_BOOTTIME. macOS counts suspension in its CLOCK_MONOTONIC. */
const CLOCK = process.platform === 'darwin' ? 6 : 7;

type ClockGettime = (clock: number, out: number) => number;

/** Milliseconds since boot, each call some 0.2 µs. Throws where koffi is missing. */
export function openBootClock(): () => number {
  const ffi = openFfi();
  const gettime = ffi.func<ClockGettime>('int clock_gettime(int clock, uintptr_t out)');
  // struct timespec of a 64-bit system. Its memory does not move.
  const timespec = new Uint32Array(4);
  const address = ffi.address(timespec.buffer);
  return () => {
    gettime(CLOCK, address);
    return (timespec[1]! * 2 ** 32 + timespec[0]!) * 1000 + timespec[2]! / 1e6;
  };
}
