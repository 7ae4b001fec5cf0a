/** A process that serves a volume in memory over NBD: `node test/memory-server.ts SOCKET SIZE [io_uring|node|auto]`. For benchmarks and clients' tests. */

import { MemoryUses } from '../src/engine/memory-uses.ts';
import { NbdFrontend, NBD_MEMORY_BYTES } from '../src/engine/nbd/frontend.ts';
import { Meter } from '../src/engine/meter.ts';
import { openEnv } from '../src/env/node/open-env.ts';
import { Arena } from '../src/lib/arena.ts';
import { MemoryTarget } from './memory-target.ts';

/** The export's name. */
export const MEMORY_ATTACH_ID = '00112233445566778899aabbccddeeff';

const [socketPath, size, kind] = process.argv.slice(2);
if (socketPath === undefined || size === undefined) {
  throw new Error('usage: memory-server.ts SOCKET SIZE');
}
const io = kind === 'io_uring' || kind === 'node' ? kind : 'auto';
const env = openEnv({ io, memoryBytes: NBD_MEMORY_BYTES + 2 ** 20 });
const { memory } = env.io;
const frontend = new NbdFrontend(env, new Arena(memory), new MemoryUses(memory));
const running = env.io.run();
const attachment = await frontend.open({
  attachId: MEMORY_ATTACH_ID,
  description: 'memory',
  socketPath,
  readOnly: false,
  meter: new Meter(),
  openTarget: (onDone) => new MemoryTarget(env.io, onDone, { sizeBytes: Number(size) }),
});
frontend.runLast();
process.stdout.write(`serving ${socketPath} on ${env.ioChoice.kind}\n`);
process.once('SIGTERM', () => {
  void frontend.close(attachment).then(() => env.io.stop());
});
await running;
