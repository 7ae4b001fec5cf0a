/**
 * How processes that share a SQLite file hear of each other's commits, without polling: whoever has committed touches the log (FILE-wal), and
 * inotify tells the others. The kernel tells of writes to the log too, but those come before their commit can be seen. A process that is killed
 * between its commit and the touch is heard with the next one's.
 */

import fs from 'node:fs';

/** Where inotify has no room for one more (fs.inotify.max_user_instances). */
const LOOK_EVERY_MS = 500;

export class CommitBell {
  readonly #log: string;
  readonly #stop: () => void;

  /** For the SQLite file at `path`, whose log is there. `onRing` is called after each touch of it, one's own too, and sometimes for nothing. */
  constructor(path: string, onRing: () => void) {
    this.#log = `${path}-wal`;
    this.#stop = watch(this.#log, onRing);
  }

  /** To be called after each commit. */
  ring(): void {
    try {
      const now = new Date();
      fs.utimesSync(this.#log, now, now);
    } catch {
      // Nobody listens at a log that is gone.
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
