/** `--watch`: what a command shows, again whenever it has changed. */

import { setTimeout as sleep } from 'node:timers/promises';

import type { Command } from 'commander';

import type { ChangeKind } from '../control/changes.ts';
import { Refusal } from '../model/errors.ts';
import type { Context } from './context.ts';

/** Space and counters change without a word: they are looked at so often. */
const LOOK_MS = 2000;
/** A list of 10,000 volumes takes control a moment: of its time a watcher has a tenth. */
const LOOK_SHARE = 10;
/** Changes come in heaps. */
const HEAP_MS = 100;
const CLEAR = '\u001B[H\u001B[J';

/** The option that {@link show} obeys. */
export function addWatch(command: Command): Command {
  return command.option('--watch', 'show it again at each change, until Ctrl-C');
}

/** Shows what `read` gives: once, or again at each change of these kinds: over itself on a terminal, JSON as a line each. */
export async function show<T>(
  context: Context,
  options: {
    readonly watch: readonly ChangeKind[] | undefined;
    readonly read: () => Promise<T>;
    readonly text: (value: T) => string;
  },
): Promise<void> {
  const { watch, read, text } = options;
  if (watch === undefined) {
    const value = await read();
    context.output.result(value, text(value));
    return;
  }
  const redraw = screen(context);
  redraw(await read(), text);
  let readMs = 0;
  for (const change = changes(context, watch); ;) {
    await change(readMs);
    const fromMs = performance.now();
    redraw(await orAway(read), text);
    readMs = performance.now() - fromMs;
  }
}

/** What is not there for a moment comes back; what is refused is refused. */
async function orAway<T>(read: () => Promise<T>): Promise<T | Refusal> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** Shows a value that differs from the last one. */
function screen({ output }: Context) {
  let last = '';
  process.stdout.on('resize', () => (last = ''));
  return <T>(value: T | Refusal, text: (value: T) => string): void => {
    const isAway = value instanceof Refusal;
    if (isAway && output.kind === 'json') return;
    const words = isAway ? value.message : text(value);
    const now = output.kind === 'json' ? JSON.stringify(value) : words;
    if (now === last) return;
    const isScreen = output.kind === 'text' && process.stdout.isTTY;
    const between = last === '' || output.kind === 'json' ? '' : '\n';
    last = now;
    process.stdout.write(isScreen ? `${CLEAR}${now}\n` : `${between}${now}\n`);
  };
}

/** A function that resolves at the next change, or when it is time to look anyway: the later, the longer the last look took. */
function changes(
  { api }: Context,
  kinds: readonly ChangeKind[],
): (readMs: number) => Promise<void> {
  const query = kinds.map((kind) => `kind=${kind}`).join('&');
  let isWatching = false;
  let next = Promise.withResolvers<void>();
  process.stdout.on('resize', () => next.resolve());
  const watch = async (): Promise<void> => {
    isWatching = true;
    // It goes on by itself when control is back; what refuses it is asked again at the next look.
    await api.watch(`/v1/watch?${query}`, { onData: () => next.resolve() }).catch(() => undefined);
    isWatching = false;
  };
  return async (readMs) => {
    if (!isWatching) void watch();
    await Promise.race([next.promise, sleep(Math.max(LOOK_MS, LOOK_SHARE * readMs))]);
    await sleep(Math.max(HEAP_MS, readMs));
    next = Promise.withResolvers<void>();
  };
}
