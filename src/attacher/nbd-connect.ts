/** A connection in NBD's transmission phase, as a plain descriptor that can be given to the kernel. */

import { closeSync } from 'node:fs';

import type { RawSockets } from '../env/linux/raw-sockets.ts';
import {
  ClientHandshake,
  type Export,
  REPLY_DATA_BYTES_MAX,
} from '../wire/nbd-client/nbd-handshake.ts';
import type { AttachSpec } from './attached-device.ts';
import { exportProblem } from './greeting.ts';

export type Connected =
  | { readonly kind: 'connected'; readonly fd: number; readonly export: Export }
  /** The engine no longer serves this attachment: for good. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'failed'; readonly problem: string };

/** Connects to the engine of `spec` and negotiates. */
export async function connectNbd(sockets: RawSockets, spec: AttachSpec): Promise<Connected> {
  const fd = await sockets.connectUnix(spec.socketPath);
  if (fd < 0) return { kind: 'failed', problem: `nobody listens on its socket (errno ${-fd})` };
  const outcome = await negotiate(sockets, fd, spec);
  if (outcome.kind === 'connected') sockets.clearLimits(fd);
  else closeSync(fd);
  return outcome;
}

async function negotiate(sockets: RawSockets, fd: number, spec: AttachSpec): Promise<Connected> {
  const handshake = new ClientHandshake(spec.attachId);
  let held: Uint8Array = new Uint8Array(0);
  for (;;) {
    const received = await sockets.receive(fd, REPLY_DATA_BYTES_MAX);
    if (typeof received === 'number') return failed(`receiving failed (errno ${-received})`);
    if (received.length === 0) return failed('it ended the connection');
    held = Uint8Array.from([...held, ...received]);
    const step = handshake.step(held);
    switch (step.kind) {
      case 'more':
        held = held.subarray(step.usedBytes);
        if (step.send === undefined) break;
        if ((await sockets.send(fd, step.send)) !== step.send.length) {
          return failed('it did not take the handshake');
        }
        break;
      case 'ready': {
        if (step.usedBytes !== held.length) return failed('it spoke before it was asked');
        const problem = exportProblem(step.export, spec.sizeBytes);
        return problem === undefined
          ? { kind: 'connected', fd, export: step.export }
          : failed(problem);
      }
      case 'unknown':
        return step;
      case 'failed':
        return step;
    }
  }
}

function failed(problem: string): Connected {
  return { kind: 'failed', problem };
}
