/** Follows an operation to its end: shows on a terminal how far it is, and leaves it running at Ctrl-C. */

import { setTimeout as sleep } from 'node:timers/promises';

import type { OperationResultView, OperationView } from '../control/operation-schemas.ts';
import { Refusal, errorRow } from '../model/errors.ts';
import { amountInWords } from '../control/progress.ts';
import { type Follow, operationIn } from './api-client.ts';
import type { Output } from './output.ts';

const LOOK_MS = 250;
/** Control may be replaced meanwhile: it is back within seconds, and goes on with what was wanted. */
const AWAY_MS_MAX = 60_000;
/** After Ctrl-C the answer, or the operation to be named, is waited for so long: a little longer than a request waits. */
const NAMING_MS = 1500;

type Interrupt = { readonly asked: Promise<void>; readonly stop: () => void };

/** `leaves`: at Ctrl-C what is under way is named and left; without it Ctrl-C is somebody else's. */
export function follower(output: Output, options: { readonly leaves: boolean }): Follow {
  return async (sent, read) => {
    const interrupt = options.leaves ? listen() : NEVER;
    try {
      const answer = await Promise.race([sent, interrupt.asked.then(() => sleep(NAMING_MS))]);
      if (answer === undefined) throw left({ kind: 'the request', id: 'ID' });
      const operation = operationIn(answer);
      if (operation === undefined) return answer;
      return await toItsEnd(operation, { output, read, interrupt });
    } finally {
      interrupt.stop();
    }
  };
}

/** Waits for an operation that was begun before. */
export async function followOperation(
  operation: OperationView,
  output: Output,
  read: (id: string) => Promise<OperationResultView>,
): Promise<OperationResultView> {
  const interrupt = listen();
  try {
    return await toItsEnd(operation, { output, read, interrupt });
  } finally {
    interrupt.stop();
  }
}

async function toItsEnd(
  operation: OperationView,
  parts: {
    readonly output: Output;
    readonly read: (id: string) => Promise<OperationResultView>;
    readonly interrupt: Interrupt;
  },
): Promise<OperationResultView> {
  const { output, read, interrupt } = parts;
  let wasAsked = false;
  void interrupt.asked.then(() => (wasAsked = true));
  let shown = operation;
  let seenAtMs = performance.now();
  try {
    for (;;) {
      output.progress(`${describeTarget(shown)}: ${describeProgress(shown, Date.now())}`);
      if (wasAsked) throw left(shown);
      const now = await read(shown.id).catch((error: unknown) => {
        if (!isAway(error) || performance.now() - seenAtMs > AWAY_MS_MAX) throw error;
        return undefined;
      });
      if (now !== undefined) [shown, seenAtMs] = [now, performance.now()];
      if (now !== undefined && now.state !== 'running') return now;
      await Promise.race([sleep(LOOK_MS), interrupt.asked]);
    }
  } finally {
    output.progress('');
  }
}

const EXIT_UNREACHABLE = 3;
const isAway = (error: unknown): boolean =>
  error instanceof Refusal && errorRow(error.code).exit === EXIT_UNREACHABLE;

function left({ kind, id }: Pick<OperationView, 'kind' | 'id'>): Refusal {
  return new Refusal('OPERATION_LEFT', { operation: kind, id });
}

const NEVER: Interrupt = { asked: new Promise(() => undefined), stop: () => undefined };

/** Takes Ctrl-C once; the next one ends the program as ever. */
function listen(): Interrupt {
  const { promise, resolve } = Promise.withResolvers<void>();
  process.once('SIGINT', resolve);
  return { asked: promise, stop: () => process.off('SIGINT', resolve) };
}

/** `volume "db"`; of all that is in the trash, `trash`. */
export function describeTarget({ target }: OperationView): string {
  if (target === 'trash/all') return 'trash';
  const slash = target.indexOf('/');
  return `${target.slice(0, slash)} "${target.slice(slash + 1)}"`;
}

/** What is being done, how much of it is done, and for how long: `formatting it, 42 % of 10 GiB, 12 s`. */
export function describeProgress(operation: OperationView, nowMs: number): string {
  const { progress, startedAt, endedAt } = operation;
  const endMs = endedAt === null ? nowMs : Date.parse(endedAt);
  const words = progress === null ? [] : [progress.phase];
  const { done = null, total = null, unit = null } = progress ?? {};
  if (done !== null && total !== null && unit !== null && total > 0) {
    words.push(amountInWords({ done, total, unit }));
  }
  words.push(`${Math.max(0, Math.round((endMs - Date.parse(startedAt)) / 1000))} s`);
  return words.join(', ');
}
