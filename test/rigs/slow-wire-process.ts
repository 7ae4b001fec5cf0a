/**
 * A wire that is slow and loses frames, as `tc netem` makes one where the kernel has it: `node slow-wire-process.ts NEAR FAR DELAY_MS LOSS`
 * makes two TAP devices in its network namespace. What comes out of one goes into the other after DELAY_MS to twice as long, so that frames
 * overtake each other, or, LOSS in a hundred, never.
 */

import { openSync, read, writeSync } from 'node:fs';
import process from 'node:process';

import { openKernelCalls } from '../../src/env/linux/kernel-calls.ts';

// linux/if_tun.h
const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
/** struct ifreq: a name, then flags. */
const NAME_BYTES = 16;
/** As KernelCalls wants it: more than 64. */
const REQUEST_BYTES = 128;
/** Above any frame: the devices have the usual MTU, and no offloads. */
const FRAME_BYTES_MAX = 2048;

const [near = '', far = '', delay = '', loss = ''] = process.argv.slice(2);
const delayMs = Number(delay);
const lossPercent = Number(loss);

async function openTap(name: string): Promise<number> {
  const fd = openSync('/dev/net/tun', 'r+');
  const request = new Uint8Array(REQUEST_BYTES);
  request.set(new TextEncoder().encode(name));
  new DataView(request.buffer).setUint16(NAME_BYTES, IFF_TAP | IFF_NO_PI, true);
  const result = await openKernelCalls().ioctl(fd, TUNSETIFF, request.buffer);
  if (result < 0) throw new Error(`no TAP device "${name}": errno ${-result}`);
  return fd;
}

/** One read waits at a time, so that only the delay changes the order. */
function carry(from: number, to: number): void {
  const frame = new Uint8Array(FRAME_BYTES_MAX);
  read(from, frame, (error, lengthBytes) => {
    if (error !== null) throw error;
    if (Math.random() * 100 >= lossPercent) {
      setTimeout(() => send(to, frame.subarray(0, lengthBytes)), delayMs * (1 + Math.random()));
    }
    carry(from, to);
  });
}

function send(to: number, frame: Uint8Array): void {
  try {
    writeSync(to, frame);
  } catch {
    // A device that is not up takes none: it is lost.
  }
}

const [one, other] = [await openTap(near), await openTap(far)];
carry(one, other);
carry(other, one);
process.send?.('ready');
