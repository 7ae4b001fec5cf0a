/** Makes each fdatasync of the engine last HOLDFAST_TEST_FLUSH_DELAY_US longer, as on a disk without a fast cache. */

import { interposeIo } from './interpose-io.ts';

const delayMs = Math.round(Number(process.env['HOLDFAST_TEST_FLUSH_DELAY_US'] ?? 'NaN') / 1000);
if (!(delayMs >= 1)) throw new Error('HOLDFAST_TEST_FLUSH_DELAY_US must be 1000 or more');

interposeIo({
  submitted: () => 0,
  completed: (ended, deliver, io) => {
    if (ended.kind === 'flush') io.after(delayMs, deliver);
    else deliver();
  },
});
