/**
 * The attached volumes of this process, and the calls on them. One call at a time: each may take some ms, they are rare, and
 * none has to think of another halfway.
 */

import { Refusal } from '../model/errors.ts';
import type { AttachSpec, AttachedDevice, DeviceKind } from './attached-device.ts';

export type Attacher = {
  /** Kinds that this machine allows, best first. */
  readonly kinds: readonly DeviceKind[];
  /** Taken over from an attacher before. */
  readonly inherited: readonly AttachedDevice[];
  /** Makes a device, or takes over one of an earlier process that the kernel kept. `ending`: what waits for I/O is to fail. */
  open(kind: DeviceKind, spec: AttachSpec, ending: AbortSignal): Promise<AttachedDevice>;
};

/** What `list` and `attach` answer of a device. */
export type DeviceStatus = {
  readonly attachId: string;
  readonly uuid: string;
  readonly device: string;
  readonly kind: DeviceKind;
  readonly sizeBytes: number;
  readonly state: 'serving' | 'waiting' | 'ended';
  readonly problem?: string;
  readonly connectCount: number;
};

export class Attachments {
  readonly #attacher: Attacher;
  readonly #devices = new Map<string, AttachedDevice>();
  /** The one that is being made. */
  #opening: { readonly attachId: string; readonly ending: AbortController } | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #handedOver = false;

  constructor(attacher: Attacher) {
    this.#attacher = attacher;
    for (const device of attacher.inherited) this.#devices.set(device.spec.attachId, device);
  }

  /** A successor serves: this process has no device any more. */
  get handedOver(): boolean {
    return this.#handedOver;
  }

  devices(): readonly AttachedDevice[] {
    return [...this.#devices.values()];
  }

  list(): DeviceStatus[] {
    return this.devices().map((device) => statusOf(device));
  }

  /** Attaches, or answers with the device that there is already. Throws a Refusal where it differs from what is wanted. */
  attach(spec: AttachSpec, kind: DeviceKind | undefined): Promise<DeviceStatus> {
    return this.#inTurn(async () => {
      const known = this.#devices.get(spec.attachId);
      if (known !== undefined) {
        assertSame(known, spec, kind);
        return statusOf(known);
      }
      const { attachId } = spec;
      const ending = new AbortController();
      this.#opening = { attachId, ending };
      try {
        const device = await this.#attacher.open(this.#choose(kind), spec, ending.signal);
        this.#devices.set(attachId, device);
        return statusOf(device);
      } finally {
        this.#opening = undefined;
      }
    });
  }

  /** Detaches. An attachment that is not there is detached already. */
  async detach(attachId: string, options: { readonly force: boolean }): Promise<void> {
    // Not in turn: where I/O stands still, an attach or a detach in order waits for that, and all calls after it.
    if (options.force) {
      if (this.#opening?.attachId === attachId) this.#opening.ending.abort();
      await this.#devices.get(attachId)?.giveUp();
    }
    return this.#inTurn(async () => {
      const device = this.#devices.get(attachId);
      if (device === undefined) return;
      await device.detach(options);
      this.#devices.delete(attachId);
    });
  }

  /** Tells the kernel of a larger volume. */
  resize(attachId: string, sizeBytes: number): Promise<DeviceStatus> {
    return this.#inTurn(async () => {
      const device = this.#devices.get(attachId);
      if (device === undefined) throw new Refusal('VOLUME_NOT_ATTACHED', { volume: attachId });
      const actual = device.spec.sizeBytes;
      if (sizeBytes < actual) {
        throw new Refusal('VOLUME_SHRINK', { volume: attachId, wanted: sizeBytes, actual });
      }
      if (sizeBytes > actual) await device.resize(sizeBytes);
      return statusOf(device);
    });
  }

  /** Detaches all. Without `force` it stops, and throws, at the first that somebody uses. */
  async detachAll(options: { readonly force: boolean }): Promise<void> {
    for (const attachId of this.#devices.keys()) await this.detach(attachId, options);
  }

  /** Has `give` hand the devices over. If it does, no call is answered any more: the successor will be asked again. */
  handOver(give: (devices: readonly AttachedDevice[]) => Promise<void>): Promise<void> {
    return this.#inTurn(async () => {
      await give(this.devices());
      this.#handedOver = true;
    });
  }

  #choose(wanted: DeviceKind | undefined): DeviceKind {
    const kind = wanted ?? this.#attacher.kinds[0];
    if (kind !== undefined && this.#attacher.kinds.includes(kind)) return kind;
    const problem =
      wanted === undefined
        ? 'the kernel has neither nbd nor FUSE with loop devices, or they need root'
        : `the kernel has no ${wanted}, or it needs root`;
    throw new Refusal('MOUNT_IMPOSSIBLE', { problem });
  }

  /** Runs `call` after those before it have ended. */
  #inTurn<Result>(call: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(() =>
      this.#handedOver ? new Promise<never>(() => {}) : call(),
    );
    this.#last = result.catch(() => {});
    return result;
  }
}

function assertSame(device: AttachedDevice, spec: AttachSpec, kind: DeviceKind | undefined): void {
  const { spec: actual } = device;
  const same =
    actual.uuid === spec.uuid &&
    actual.socketPath === spec.socketPath &&
    actual.sizeBytes >= spec.sizeBytes &&
    (kind === undefined || kind === device.kind);
  if (!same) {
    throw new Refusal('VOLUME_ATTACHED_OTHERWISE', {
      volume: spec.uuid,
      wanted: `with attach id "${spec.attachId}"`,
      actual: `as "${device.device}", ${device.kind}, from "${actual.socketPath}"`,
    });
  }
  if (device.state.kind === 'ended') {
    const problem = `"${device.device}" has ended (${device.state.problem}); detach it first`;
    throw new Refusal('ATTACHER_REFUSED', { call: 'attach', problem });
  }
}

function statusOf(device: AttachedDevice): DeviceStatus {
  const { spec, state } = device;
  return {
    attachId: spec.attachId,
    uuid: spec.uuid,
    device: device.device,
    kind: device.kind,
    sizeBytes: spec.sizeBytes,
    state: state.kind,
    ...(state.kind === 'serving' ? {} : { problem: state.problem }),
    connectCount: device.connectCount,
  };
}
