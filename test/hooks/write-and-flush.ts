/** The program of hooks.test.ts: writes a block of bytes and a block of zeros, flushes, prints how long the flush took. */

import { openEnv } from '../../src/env/node/open-env.ts';

const [kind, path] = process.argv.slice(3);
const env = openEnv({ io: kind === 'node' ? 'node' : 'auto', memoryBytes: 2 ** 20 });
const { io } = env;
new Uint8Array(io.memory.buffer).fill(0x77, 0, 4096);
const file = await env.files.open(path ?? '', { create: true });

let flushedAtMs = 0;
const steps = [
  () => io.write(port, 1, file.fd, 0, 0, 4096),
  () => io.writev(port, 2, file.fd, 4096, Uint32Array.of(4096, 2048, 6144, 2048), 0, 2),
  () => {
    flushedAtMs = performance.now();
    io.flush(port, 3, file.fd);
  },
];
const port = io.port((index, result) => {
  if (result < 0 || (index < 3 && result !== 4096))
    throw new Error(`Operation ${index}: ${result}`);
  const next = steps[index];
  if (next !== undefined) {
    next();
    return;
  }
  process.stdout.write(String(performance.now() - flushedAtMs));
  io.stop();
});
steps[0]?.();
await io.run();
