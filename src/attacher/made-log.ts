/**
 * `made.jsonl` in an installation's run directory: what this run made in the machine. A line is appended before the thing
 * is made, and another when it is gone again, so that the file always names a superset of what is there. It guards
 * against dead processes, not against power loss, which leaves none of these things; so nothing is flushed.
 *
 * Several processes append at once: each line is one write of less than a page, with O_APPEND.
 */

import { closeSync, fstatSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

import { runMarkOf } from '../env/node/run-directory.ts';
import type { ProcessIdentity } from './process-identity.ts';

/** Each is recognised again by more than its path: what others made at the same place is not ours to undo. */
export type Made =
  /** A FUSE mount on the file `path`; `source` is its source in /proc/self/mountinfo. `maker` serves it. */
  | {
      readonly kind: 'fuse';
      readonly path: string;
      readonly source: string;
      readonly maker: ProcessIdentity;
    }
  /** A loop device over the file `backing`. */
  | {
      readonly kind: 'loop';
      readonly device: string;
      readonly backing: string;
      readonly maker: ProcessIdentity;
    }
  /** A kernel nbd device; `backend` is its backend identifier. It outlives its maker. */
  | { readonly kind: 'nbd'; readonly device: string; readonly backend: string }
  /** A file system mounted from `device`. `owned`: the directory was made for it, and so were `parents` above it, outermost first. */
  | {
      readonly kind: 'mount';
      readonly path: string;
      readonly device: string;
      readonly owned: boolean;
      readonly parents: readonly string[];
    }
  /** A unix socket. `parents`: folders that were made for it, outermost first. */
  | {
      readonly kind: 'socket';
      readonly path: string;
      readonly parents?: readonly string[];
    };

type Line = { readonly made: Made } | { readonly gone: string } | Header;
/** The first line: the run directory that the log was begun in ({@link runMarkOf}). */
type Header = { readonly runMark: number };

const FILE_NAME = 'made.jsonl';

export class MadeLog {
  readonly path: string;
  readonly #runDir: string;

  constructor(runDir: string) {
    this.#runDir = runDir;
    this.path = join(runDir, FILE_NAME);
  }

  /** Records what is about to be made. */
  record(made: Made): void {
    this.#append({ made });
  }

  /** Records that it is gone, or was not made after all. */
  forget(made: Made): void {
    this.#append({ gone: keyOf(made) });
  }

  /**
   * What is recorded and not gone, in the order in which it was made. A line cut short by a death names nothing made, and a log that
   * came with a copy of the directory nothing that is ours.
   */
  entries(): Made[] {
    const there = new Map<string, Made>();
    for (const text of this.#read().split('\n')) {
      const line = parseLine(text);
      if (line === undefined) continue;
      if ('runMark' in line) {
        if (line.runMark !== runMarkOf(this.#runDir)) return [];
        continue;
      }
      if ('gone' in line) {
        there.delete(line.gone);
        continue;
      }
      const key = keyOf(line.made);
      there.delete(key);
      there.set(key, line.made);
    }
    return [...there.values()];
  }

  /** Removes the file. Only when nothing recorded is left. */
  remove(): void {
    rmSync(this.path, { force: true });
  }

  #append(line: Line): void {
    const file = openSync(this.path, 'a', 0o600);
    try {
      const header: Header = { runMark: runMarkOf(this.#runDir) };
      // Two that begin it at once say the same.
      const lines = fstatSync(file).size === 0 ? [header, line] : [line];
      // A newline first ends a line that somebody died in.
      writeSync(file, lines.map((each) => `\n${JSON.stringify(each)}\n`).join(''));
    } finally {
      closeSync(file);
    }
  }

  #read(): string {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
      throw error;
    }
  }
}

function keyOf(made: Made): string {
  switch (made.kind) {
    case 'fuse':
    case 'socket':
      return `${made.kind} ${made.path}`;
    case 'mount':
      return `mount ${made.device} ${made.path}`;
    case 'loop':
      return `loop ${made.device} ${made.backing}`;
    case 'nbd':
      return `nbd ${made.device} ${made.backend}`;
  }
}

/** Our own lines, which nobody else writes: their shape is not checked further. */
function parseLine(text: string): Line | undefined {
  if (text === '') return undefined;
  try {
    const line: Line = JSON.parse(text);
    // An earlier version recorded no parents.
    if ('made' in line && line.made.kind === 'mount')
      return { made: Object.assign({ parents: [] }, line.made) };
    return line;
  } catch {
    return undefined;
  }
}
