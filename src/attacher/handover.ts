/**
 * Hands an attacher's devices over to a successor, a process of another build, while file systems are mounted on them.
 *
 * A FUSE connection lives as long as somebody has its descriptor of /dev/fuse, and the successor is a child that inherits it. It starts
 * and makes all ready while this process still serves. Then this one takes no more requests, waits for the answers to those that it
 * took, and gives the word. Until then the successor has touched nothing, and its end changes nothing; afterwards ours does not.
 *
 *     this process                                        successor
 *     {"handover":1,"version","io","devices":[…]}    →
 *                                                    ←    {"ready":true} or {"refused":"…"}
 *     takes no more requests, answers what it took
 *     {"serve":true}                                 →
 *                                                    ←    {"serving":true}
 *     ends
 */

import { type ChildProcess, spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';

import { assert } from '../lib/assert.ts';
import { type ErrorDetails, Refusal } from '../model/errors.ts';
import type { AttachedDevice, InheritedDevice } from './attached-device.ts';
import { HandoverChannel } from './handover-channel.ts';

/**
 * Version of what is said, and of what an attacher has promised to the kernel when it made a device: requests of at most 256 KiB, 32
 * at once, a file that caches nothing. A build that keeps less than that has another number.
 */
export const HANDOVER_VERSION = 1;

/** A start of Node on a machine that is busy. Nothing waits for it but who asked for the handover. */
const READY_MS_MAX = 30_000;
/** I/O waits so long at most for requests that the engine does not answer; then the handover is off. */
const PAUSE_MS_MAX = 1000;

/** A device as its successor is told of it; that one knows its descriptors by their order. */
export type DeviceState = Omit<InheritedDevice, 'fd'>;

export type HandoverState = {
  readonly handover: number;
  readonly version: string;
  /** The maker of env.io: a descriptor that does not block is of use to one of them only. */
  readonly io: string;
  readonly devices: readonly DeviceState[];
};

export type HandoverOptions = {
  readonly devices: readonly AttachedDevice[];
  readonly state: Pick<HandoverState, 'version' | 'io'>;
  /** The successor's command line. */
  readonly command: readonly string[];
  readonly sleep: (delayMs: number) => Promise<void>;
};

/**
 * Hands over. Once it resolves the successor serves, and this process has nothing left but to end. Throws ATTACHER_REFUSED, and serves
 * as before, where the successor refuses, ends, or the engine leaves requests unanswered.
 */
export async function handOver(options: HandoverOptions): Promise<void> {
  const { devices } = options;
  const successor = startSuccessor(options.command, devices);
  try {
    const late = async (
      limitMs: number,
      problem: string,
      details?: ErrorDetails,
    ): Promise<never> => {
      await options.sleep(limitMs);
      throw refused(`${problem} (${limitMs} ms)`, details);
    };
    await Promise.race([
      makeReady(successor, options.state, devices),
      late(READY_MS_MAX, 'the new attacher was not ready in time'),
    ]);
    const busy = 'the engine left requests unanswered; try again when it answers';
    await Promise.race([
      Promise.all(devices.map((device) => device.handover.pause())),
      late(PAUSE_MS_MAX, busy, { isBusy: 1 }),
    ]);
  } catch (error) {
    successor.child.kill('SIGKILL');
    await successor.ended;
    for (const { handover } of devices) {
      handover.record();
      handover.serve();
    }
    throw error;
  }
  successor.channel.say({ serve: true });
  const answer = await successor.channel.next();
  // Requests that it took are nobody's now: these devices can only fail.
  assert(answer !== undefined, 'a successor that was given the word serves');
  successor.child.unref();
}

type Successor = {
  readonly child: ChildProcess;
  readonly channel: HandoverChannel;
  readonly ended: Promise<void>;
};

function startSuccessor(command: readonly string[], devices: readonly AttachedDevice[]): Successor {
  const [program = '', ...words] = command;
  const fds = devices.map((device) => device.handover.fd);
  const child = spawn(program, words, {
    detached: true,
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', ...fds],
  });
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  // A socket, not one of the streams for reading or writing alone.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const socket = child.stdio[3] as Duplex;
  return { child, ended, channel: new HandoverChannel(socket) };
}

async function makeReady(
  { channel, ended }: Successor,
  state: HandoverOptions['state'],
  devices: readonly AttachedDevice[],
): Promise<void> {
  const told: HandoverState = {
    handover: HANDOVER_VERSION,
    ...state,
    devices: devices.map(({ kind, spec, device }) => ({ kind, spec, device })),
  };
  channel.say(told);
  const answer = await Promise.race([channel.next(), ended.then((): undefined => undefined)]);
  if (answer?.['ready'] === true) return;
  throw refused(
    answer === undefined
      ? 'the new attacher ended before it was ready; the log of the attacher has more'
      : String(answer['refused']),
  );
}

/** `isBusy`: a moment later it may succeed. */
function refused(problem: string, details: ErrorDetails = {}): Refusal {
  return new Refusal('ATTACHER_REFUSED', { call: 'handover', problem, ...details });
}
