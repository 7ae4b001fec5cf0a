/**
 * The folders of a tour, and the note in DIR/log/tour/tour.json by which the next one knows whether a tour still runs there
 * and what it left.
 */

import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { makeDirectory } from '../env/node/make-directory.ts';
import { processes } from '../env/node/processes.ts';
import { processesIn } from './left-processes.ts';

type Note = { readonly pid: number; readonly workFolder: string };

export type LastTour =
  | { readonly kind: 'none' }
  | { readonly kind: 'running'; readonly pid: number }
  | { readonly kind: 'dead'; readonly workFolder: string };

export class WorkFolders {
  /** The journal and logs: below DIR/log, which uninstalling removes. */
  readonly kept: string;
  readonly #notePath: string;
  /** Of this tour and of a dead one before it. */
  #made: string[] = [];
  /** What had to be made for the note, outermost first. */
  #madeForNote: readonly string[] = [];

  constructor(dataFolder: string) {
    this.kept = join(dataFolder, 'log', 'tour');
    this.#notePath = join(this.kept, 'tour.json');
  }

  /** The tour that noted itself here last: none, one that runs, or one that is dead. */
  last(): LastTour {
    const note = this.#readNote();
    if (note === undefined) return { kind: 'none' };
    const { pid, workFolder } = note;
    return isTour(pid) ? { kind: 'running', pid } : { kind: 'dead', workFolder };
  }

  /** Makes the folder for mount point and sockets. Not below DIR: the database's user may not be let through to there. */
  make(): string {
    const left = this.#readNote()?.workFolder;
    sweepOthers();
    this.#madeForNote = makeDirectory(this.kept, 0o700);
    const folder = mkdtempSync(join(tmpdir(), `holdfast-tour-${process.pid}-`));
    this.#made = left === undefined ? [folder] : [left, folder];
    chmodSync(folder, 0o711);
    const note: Note = { pid: process.pid, workFolder: folder };
    writeFileSync(this.#notePath, JSON.stringify(note));
    return folder;
  }

  /**
   * Removes the work folder, and that of the dead tour before, now that nothing is mounted in them. Not earlier: the start
   * of Holdfast mounts again what was mounted when it died.
   */
  remove(): void {
    for (const folder of this.#made) removeFolder(folder);
    rmSync(this.#notePath, { force: true });
    // Where Holdfast did not start, nothing of the tour stays either.
    for (const at of this.#madeForNote.toReversed())
      if (existsSync(at) && readdirSync(at).length === 0) rmdirSync(at);
  }

  #readNote(): Note | undefined {
    try {
      return JSON.parse(readFileSync(this.#notePath, 'utf8'));
    } catch {
      return undefined;
    }
  }
}

/** Removes the folders of dead tours whose installation is gone with its note, and in which nothing runs or is mounted any more. */
function sweepOthers(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = /^holdfast-tour-(\d+)-/.exec(name)?.[1];
    const folder = join(tmpdir(), name);
    if (pid === undefined || isTour(Number(pid)) || processesIn(folder).length > 0) continue;
    try {
      removeFolder(folder);
    } catch {
      // Another user's, or a mount is still there: its own next tour ends that.
    }
  }
}

function removeFolder(folder: string): void {
  // rmdir refuses a folder with something in it: a mount that is still there loses nothing.
  if (!existsSync(folder)) return;
  for (const volume of readdirSync(folder).filter((name) => name !== 'socket')) {
    rmdirSync(join(folder, volume));
  }
  rmSync(join(folder, 'socket'), { recursive: true, force: true });
  rmdirSync(folder);
}

/** The process lives and is a tour: its number may have gone to another. */
function isTour(pid: number): boolean {
  return processes.wordsOf(pid).some((word) => word.endsWith('tour-main.ts'));
}
