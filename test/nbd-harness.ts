/** A frontend over a volume in memory, in the test's own process, on real sockets. One Env per maker: arenas live as long as the process. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { Meter } from '../src/engine/meter.ts';
import { MemoryUses } from '../src/engine/memory-uses.ts';
import { NBD_MEMORY_BYTES, NbdFrontend } from '../src/engine/nbd/frontend.ts';
import type { Attachment } from '../src/engine/nbd/attachment.ts';
import { type EnvOptions, type NodeEnv, openEnv } from '../src/env/node/open-env.ts';
import { Arena } from '../src/lib/arena.ts';
import { MemoryTarget, type MemoryTargetOptions } from './memory-target.ts';
import { NbdRawClient } from './nbd-raw-client.ts';

export type Served = {
  readonly target: MemoryTarget;
  readonly attachment: Attachment;
  readonly name: string;
  readonly path: string;
  /** A client in transmission. */
  readonly attach: (options?: {
    readonly structured?: boolean;
    readonly contexts?: readonly string[];
  }) => Promise<NbdRawClient>;
};

export class NbdHarness {
  readonly env: NodeEnv;
  readonly frontend: NbdFrontend;
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'hf-nbd-'));
  readonly #running: Promise<void>;
  #count = 0;
  readonly #served: Attachment[] = [];

  constructor(io: EnvOptions['io']) {
    this.env = openEnv({ io, memoryBytes: NBD_MEMORY_BYTES + 65_536 });
    const { memory } = this.env.io;
    this.frontend = new NbdFrontend(this.env, new Arena(memory), new MemoryUses(memory));
    this.#running = this.env.io.run();
  }

  /** Serves a fresh volume. */
  async serve(
    options: Partial<MemoryTargetOptions> & { readonly readOnly?: boolean } = {},
  ): Promise<Served> {
    this.#count += 1;
    const name = this.#count.toString(16).padStart(32, '0');
    const socketPath = path.join(this.#folder, `${this.#count}.sock`);
    let target: MemoryTarget | undefined;
    const attachment = await this.frontend.open({
      attachId: name,
      description: 'a volume in memory',
      socketPath,
      readOnly: options.readOnly ?? false,
      meter: new Meter(),
      openTarget: (onDone) => {
        target = new MemoryTarget(this.env.io, onDone, {
          sizeBytes: 64 * 2 ** 20,
          recordsCalls: true,
          ...options,
        });
        return target;
      },
    });
    this.#served.push(attachment);
    this.frontend.runLast();
    if (target === undefined) throw new Error('no target was opened');
    return {
      target,
      attachment,
      name,
      path: socketPath,
      attach: (how = {}) => NbdRawClient.attach(socketPath, { ...how, name }),
    };
  }

  /** Ends everything. Rejects if the reactor has failed, or a meter says that something is still under way. */
  async stop(): Promise<void> {
    for (const attachment of this.frontend.attachments) {
      if (attachment.state === 'serving') await this.frontend.close(attachment);
    }
    for (const { meter, attachId } of this.#served) {
      assert.equal(meter.inFlight, 0, `nothing of ${attachId} is under way`);
    }
    this.env.io.stop();
    await this.#running;
    fs.rmSync(this.#folder, { recursive: true });
  }
}
