/**
 * `ill-drives.ts`'s process: each file of its command line becomes a FUSE file, which passes on to what was there, FILE.below, unless it is
 * told by a message {path, illness} that the drive is ill.
 */

import { rename } from 'node:fs/promises';
import process from 'node:process';

import { type Berth, type BerthOwner, Berths } from '../../src/attacher/berths.ts';
import {
  FUSE_ARENA_BYTES,
  FUSE_INDEX_COUNT,
  type FuseClient,
  FuseFile,
  SLOT_COUNT,
} from '../../src/attacher/fuse-file.ts';
import { FuseMount } from '../../src/attacher/fuse-mount.ts';
import { openKernelCalls } from '../../src/env/linux/kernel-calls.ts';
import { openEnv } from '../../src/env/node/open-env.ts';
import { EIO, EOPNOTSUPP } from '../../src/model/errno.ts';
import { TEST_MOUNT } from './control-rig.ts';
import type { Illness, IllnessMessage } from './ill-drives.ts';

const ARENA_AT = 4096;
/** How much longer a flush takes. */
const SLOW_MS = 300;
/** Of a drive that fails one call in so many does, so that some around it do not. */
const FAILS_EVERY = 3;

const INDEX_DISK = FUSE_INDEX_COUNT;
const INDEX_TIMER: number = INDEX_DISK + SLOT_COUNT;

type Call = 'read' | 'write' | 'flush';
type Data = Parameters<FuseClient['read']>[2];

class IllDrive implements BerthOwner, FuseClient {
  #illness: Illness | undefined;
  readonly #berth: Berth;
  readonly #file: FuseFile;
  readonly #fd: number;
  readonly #held: (() => void)[] = [];
  /** What each slot waits for, and the bytes it must have done. */
  readonly #calls: { call: Call; lengthBytes: number }[] = Array.from(
    { length: SLOT_COUNT },
    () => ({ call: 'flush', lengthBytes: 0 }),
  );

  /** `fuseFd`: /dev/fuse, mounted; `fd`: where it passes on to. */
  constructor(
    berth: Berth,
    options: { readonly fuseFd: number; readonly fd: number; readonly sizeBytes: number },
  ) {
    this.#berth = berth;
    this.#fd = options.fd;
    const { address } = berth;
    const { fuseFd, sizeBytes } = options;
    // The mount lives as long as this process.
    this.#file = new FuseFile({ berth, address, fd: fuseFd, sizeBytes, onEnded: () => undefined });
    this.#file.start(this);
  }

  read(slot: number, offsetBytes: number, { address, lengthBytes }: Data): void {
    const { io, port, firstIndex } = this.#berth;
    this.#begin(slot, { call: 'read', lengthBytes }, () =>
      io.read(port, firstIndex + INDEX_DISK + slot, this.#fd, offsetBytes, address, lengthBytes),
    );
  }

  write(slot: number, offsetBytes: number, { address, lengthBytes }: Data): void {
    const { io, port, firstIndex } = this.#berth;
    this.#begin(slot, { call: 'write', lengthBytes }, () =>
      io.write(port, firstIndex + INDEX_DISK + slot, this.#fd, offsetBytes, address, lengthBytes),
    );
  }

  flush(slot: number): void {
    const { io, port, firstIndex } = this.#berth;
    this.#begin(slot, { call: 'flush', lengthBytes: 0 }, () =>
      io.flush(port, firstIndex + INDEX_DISK + slot, this.#fd),
    );
  }

  /** Drives do not ask for it. */
  zero(slot: number): void {
    this.#file.onDone(slot, EOPNOTSUPP);
  }

  /** What it has from now on. Calls that hung go on, or have the new illness. */
  afflict(illness: Illness | undefined): void {
    this.#illness = illness;
    for (const begin of this.#held.splice(0)) begin();
  }

  onCompletion(index: number, result: number): void {
    if (index < INDEX_DISK) {
      this.#file.onCompletion(index, result);
      return;
    }
    if (index >= INDEX_TIMER) {
      this.#file.onDone(index - INDEX_TIMER, 0);
      return;
    }
    const slot = index - INDEX_DISK;
    const { call, lengthBytes } = this.#calls[slot]!;
    if (result < 0) this.#file.onDone(slot, -result);
    else if (result < lengthBytes) this.#file.onDone(slot, EIO);
    else if (call === 'flush' && this.#illness === 'slow') this.#delay(slot);
    else this.#file.onDone(slot, 0);
  }

  onTurnEnd(): void {
    // Nothing is gathered.
  }

  #begin(slot: number, call: { call: Call; lengthBytes: number }, perform: () => void): void {
    this.#calls[slot] = call;
    if (this.#illness === 'hangs') this.#held.push(() => this.#begin(slot, call, perform));
    else if (this.#fails(call.call)) this.#file.onDone(slot, EIO);
    else perform();
  }

  #fails(call: Call): boolean {
    if (this.#illness !== 'fails' && this.#illness !== 'unreadable') return false;
    const isConcerned = (this.#illness === 'unreadable') === (call === 'read');
    return isConcerned && env.random.below(FAILS_EVERY) === 0;
  }

  #delay(slot: number): void {
    const { io, port, firstIndex } = this.#berth;
    io.timer(port, firstIndex + INDEX_TIMER + slot, SLOW_MS);
  }
}

/** Puts a FUSE file in the place of the one at `path`. */
async function replace(path: string): Promise<IllDrive> {
  await rename(path, `${path}.below`);
  const { fd, sizeBytes } = await env.files.open(`${path}.below`, {});
  const mount = await FuseMount.open(calls, { path, source: TEST_MOUNT, ioKind: env.io.kind });
  const drive = berths.take((berth) => new IllDrive(berth, { fuseFd: mount.fd, fd, sizeBytes }));
  if (drive === undefined) throw new Error('a berth for each drive');
  // The proof that it is served.
  await mount.refresh();
  return drive;
}

const paths = process.argv.slice(2);
const env = openEnv({ io: 'auto', memoryBytes: ARENA_AT + paths.length * FUSE_ARENA_BYTES });
const calls = openKernelCalls();
const berths = new Berths(env.io, {
  firstAddress: ARENA_AT,
  berthBytes: FUSE_ARENA_BYTES,
  count: paths.length,
});
const running = env.io.run();
const drives = new Map<string, IllDrive>();
for (const path of paths) drives.set(path, await replace(path));
process.on('message', ({ path, illness }: IllnessMessage) => {
  drives.get(path)?.afflict(illness);
  process.send?.('done');
});
process.send?.('ready');
await running;
