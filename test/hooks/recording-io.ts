/** Records every write, with its bytes, and every flush of the engine in the file HOLDFAST_TEST_JOURNAL. */

import { interposeIo } from './interpose-io.ts';
import { JournalWriter } from './io-journal.ts';

const path = process.env['HOLDFAST_TEST_JOURNAL'];
if (path === undefined) throw new Error('HOLDFAST_TEST_JOURNAL must name a file');
const journal = new JournalWriter(path);

interposeIo({
  submitted: (call) => journal.submitted(call),
  completed: (ended, deliver) => {
    // Recorded before anybody can act on it: whoever hears of this completion does so later than the journal says.
    journal.completed(ended.token, ended.result);
    deliver();
  },
});
