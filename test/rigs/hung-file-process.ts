/** Flushes the file of its command line and then writes to it, and says "alive" once it has been through both and a timer. */

import process from 'node:process';

import { openEnv } from '../../src/env/node/open-env.ts';

const BLOCK_BYTES = 4096;
/** Time for what was submitted before to reach the file's server. */
const STEP_MS = 100;
const [FLUSH, FLUSHING, WRITE, WRITING] = [0, 1, 2, 3];

const [path = ''] = process.argv.slice(2);
const { io, files } = openEnv({ io: 'io_uring', memoryBytes: 65_536 });
const running = io.run();
const { fd } = await files.open(path, { direct: true });
const port = io.port((index) => {
  if (index === FLUSHING) {
    io.write(port, WRITE, fd, 0, 0, BLOCK_BYTES);
    io.timer(port, WRITING, STEP_MS);
  } else if (index === WRITING) process.stdout.write('alive\n');
});
io.flush(port, FLUSH, fd);
io.timer(port, FLUSHING, STEP_MS);
await running;
