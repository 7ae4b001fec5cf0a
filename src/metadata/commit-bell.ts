/**
 * How processes that share a SQLite file hear of each other's commits, without polling: whoever has committed touches the index of its log
 * (FILE-shm), and inotify tells the others. SQLite itself changes that file through memory alone, which inotify does not tell; it would tell of
 * writes to the log, but those come before their commit can be seen. A process that is killed between its commit and the touch is heard with the
 * next one's.
 */

import fs from 'node:fs';

/** Where inotify has no room for one more (fs.inotify.max_user_instances). */
const LOOK_EVERY_MS = 500;

export class CommitBell {
  readonly #index: string;
  readonly #stop: () => void;

  /** For the SQLite file at `path`, which is open in WAL mode. `onRing` is called after each touch, one's own too, and sometimes for nothing. */
  constructor(path: string, onRing: () => void) {
    this.#index = `${path}-shm`;
    this.#stop = watch(this.#index, onRing);
  }

  /** To be called after each commit. */
  ring(): void {
    try {
      const now = new Date();
      fs.utimesSync(this.#index, now, now);
    } catch {
      // Nobody listens at one that is gone.
    }
  }

  close(): void {
    this.#stop();
  }
}

function watch(file: string, onRing: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const poll = (): void => void (timer = setInterval(onRing, LOOK_EVERY_MS).unref());
  let watcher: fs.FSWatcher | undefined;
  try {
    watcher = fs.watch(file, { persistent: false }, onRing).on('error', poll);
  } catch {
    poll();
  }
  return () => {
    watcher?.close();
    clearInterval(timer);
  };
}
