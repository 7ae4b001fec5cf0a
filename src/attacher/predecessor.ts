/** The other side of handover.ts: the attacher that this process takes the devices over from, and inherited their descriptors of. */

import { Socket } from 'node:net';

import type { InheritedDevice } from './attached-device.ts';
import { CHANNEL_FD, FIRST_DEVICE_FD, HandoverChannel } from './handover-channel.ts';
import { type DeviceState, HANDOVER_VERSION, type HandoverState } from './handover.ts';

export class Predecessor {
  readonly devices: readonly InheritedDevice[];
  readonly #channel: HandoverChannel;

  private constructor(channel: HandoverChannel, devices: readonly DeviceState[]) {
    this.#channel = channel;
    this.devices = devices.map((device, i) => ({ ...device, fd: FIRST_DEVICE_FD + i }));
  }

  /** Hears what there is to take over. Undefined where this build cannot, which the predecessor is told. `io`: this process's maker. */
  static async meet(io: string): Promise<Predecessor | undefined> {
    const channel = new HandoverChannel(new Socket({ fd: CHANNEL_FD }));
    const state = await channel.next();
    if (state === undefined) return undefined;
    // Its maker's own words, whose version says what they are.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    const { handover, devices, ...before } = state as unknown as HandoverState;
    if (handover !== HANDOVER_VERSION) {
      const versions = `by version ${HANDOVER_VERSION}, and the one that runs hands over by version ${handover}`;
      return refuse(channel, `the new attacher takes over ${versions}`);
    }
    if (before.io !== io) {
      return refuse(
        channel,
        `the new attacher does I/O by ${io}, the one that runs by ${before.io}`,
      );
    }
    return new Predecessor(channel, devices);
  }

  /** Says why this process does not take over. */
  refuse(error: unknown): void {
    refuse(this.#channel, error instanceof Error ? error.message : String(error));
  }

  /** Says that all is ready. Resolves at the word to serve; with false where the predecessor ended without it. */
  async ready(): Promise<boolean> {
    this.#channel.say({ ready: true });
    const word = await this.#channel.next();
    return word?.['serve'] === true;
  }

  /** Says that this process serves: the predecessor ends. */
  serving(): void {
    this.#channel.say({ serving: true });
  }
}

function refuse(channel: HandoverChannel, problem: string): undefined {
  channel.say({ refused: problem });
}
