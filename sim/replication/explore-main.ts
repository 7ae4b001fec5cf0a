/** `npm run sim:replication:exhaustive`: all histories of small scopes. */

import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { UsageError } from '../../src/lib/count-option.ts';
import { readOptions } from '../options.ts';
import { Choices } from './choices.ts';
import { type Progress, type Scope, explore, runHistory } from './explore.ts';

const HELP = `Runs all histories of a replicated volume in small scopes: 3 replicas, 2 writers, 3 writes and a flush, and some faults at every
place where they make a difference.

  npm run sim:replication:exhaustive                                  each two faults, in minutes
  npm run sim:replication:exhaustive -- --long                        and each three
  npm run sim:replication:exhaustive -- --scope C,P,T,L               at most C crashes, P partitions, T takeovers, L late messages
  npm run sim:replication:exhaustive -- --scope C,P,T,L --result FILE goes on where FILE ends
  npm run sim:replication:exhaustive -- --scope C,P,T,L --history H   one, again, as printed when it failed, with its trace
`;
/** In the order of {@link Scope}. */
const SCOPES = ['0,0,0,1', '0,0,1,1', '1,0,0,1', '0,1,1,0', '1,0,1,0', '1,1,0,0', '2,0,0,0'];
const LONG_SCOPES = [...SCOPES, '1,1,1,0', '2,0,1,0', '2,1,0,0'];

const options = readOptions(() => {
  const { values } = parseArgs({
    options: {
      scope: { type: 'string' },
      long: { type: 'boolean', default: false },
      result: { type: 'string' },
      history: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.scope === undefined && (values.result ?? values.history) !== undefined) {
    throw new UsageError('--result and --history are of one scope: name it with --scope');
  }
  const several = values.long ? LONG_SCOPES : SCOPES;
  const scopes = (values.scope === undefined ? several : [values.scope]).map(parseScope);
  return { ...values, scopes };
});

function parseScope(text: string): Scope {
  if (!/^\d(,\d){3}$/.test(text)) {
    throw new UsageError(`--scope is four digits, as 1,0,1,0, and not "${text}"`);
  }
  const [crashes = 0, partitions = 0, takeovers = 0, late = 0] = text.split(',').map(Number);
  return { crashes, partitions, takeovers, late };
}

/** What a run that was cut off had done, and what is next: two lines. */
function readProgress(file: string | undefined): {
  readonly histories: number;
  readonly next: string;
} {
  if (file === undefined || !fs.existsSync(file)) return { histories: 0, next: '' };
  const [histories = '0', next = ''] = fs.readFileSync(file, 'utf8').split('\n');
  return { histories: Number(histories), next };
}

const PROGRESS_MS = 10_000;

/** For people, now and then; and for {@link readProgress}. */
function progressTo(result: string | undefined, before: number): (progress: Progress) => void {
  let toldAt = performance.now();
  return ({ histories, known, states, firstFault, next }) => {
    if (result !== undefined) {
      fs.writeFileSync(`${result}.new`, `${before + histories}\n${next}\n`);
      fs.renameSync(`${result}.new`, result);
    }
    if (performance.now() - toldAt < PROGRESS_MS) return;
    toldAt = performance.now();
    process.stderr.write(
      `${before + histories} histories, ${known} of them to a known state, ${states} states, the first fault is at place ${firstFault} (it goes down to 0)\n`,
    );
  };
}

/** Whether nothing was found. */
async function runScope(scope: Scope): Promise<boolean> {
  const { result } = options;
  const before = readProgress(result);
  const startedAt = performance.now();
  const { histories, known, states, ends, failure } = await explore(scope, {
    choices: Choices.parse(before.next),
    onProgress: progressTo(result, before.histories),
  });
  const count = before.histories + histories;
  if (failure !== undefined) {
    const { error, choices } = failure;
    process.stdout.write(
      `HISTORY ${count} FAILED\n  ${error instanceof Error ? error.stack : String(error)}\n  --history "${choices}"\n`,
    );
    return false;
  }
  const { crashes, partitions, takeovers, late } = scope;
  const seconds = (performance.now() - startedAt) / 1000;
  const cpuSeconds = process.cpuUsage().user / 1e6;
  process.stdout.write(
    `${String(count).padStart(9)} histories (${known} to a known state) over ${states} states to ${ends.size} ends with at most ${crashes} crashes, ${partitions} partitions, ${takeovers} takeovers, ${late} late: all well, ${seconds.toFixed(0)} s (CPU so far: ${cpuSeconds.toFixed(0)} s)\n`,
  );
  return true;
}

async function main(): Promise<number> {
  const { help, history, scopes } = options;
  if (help) {
    process.stdout.write(HELP);
    return 0;
  }
  const [first] = scopes;
  if (history !== undefined && first !== undefined) {
    const onTrace = (line: string): unknown => process.stdout.write(`${line}\n`);
    await runHistory(Choices.parse(history), { ...first, onTrace });
    return 0;
  }
  for (const scope of scopes) if (!(await runScope(scope))) return 1;
  return 0;
}

process.exitCode = await main();
