/** `env.boot`: the boot id of Linux, and notes as files in memory. */

import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

import type { Boot } from '../env.ts';
import { readBootId } from './boot-id.ts';

/** Memory that processes share: it ends with the boot, or with the container. */
const SHARED_MEMORY = '/dev/shm';
/** statfs(2): TMPFS_MAGIC. */
const TMPFS = 0x01021994;

/** Where `directory` is not in memory nothing is kept: a note that might outlive a failing disk's refusal to remove it is none. */
export function openBoot(directory: string = SHARED_MEMORY): Boot {
  const known = readBootId().replaceAll('-', '').toLowerCase();
  // Without an id that we know of, each process is a boot of its own.
  const id = /^[0-9a-f]{32}$/.test(known) ? known : randomBytes(16).toString('hex');
  const isKept = isInMemory(directory);
  const uid = process.getuid?.() ?? 0;
  const place = (name: string): string => path.join(directory, `holdfast-${uid}-${name}`);
  return {
    id,
    noted: (name) => isKept && isOwn(place(name), uid) && contentOf(place(name)) === id,
    note: (name) => {
      if (isKept) write(place(name), id);
    },
    takeBack: (name) => {
      if (isKept && isOwn(place(name), uid)) fs.rmSync(place(name), { force: true });
    },
  };
}

function isInMemory(directory: string): boolean {
  try {
    return fs.statfsSync(directory).type === TMPFS;
  } catch {
    return false;
  }
}

/** Everybody may make files there: what another user made, or a link, is no note of ours. */
function isOwn(file: string, uid: number): boolean {
  const stat = fs.lstatSync(file, { throwIfNoEntry: false });
  return stat?.isFile() === true && stat.uid === uid;
}

function contentOf(file: string): string {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Made anew, so that nobody's link is followed. What cannot be noted is not: a drive then counts as one that may have lost something. */
function write(file: string, content: string): void {
  try {
    fs.rmSync(file, { force: true });
    fs.writeFileSync(file, content, { flag: 'wx', mode: 0o600 });
  } catch {
    // Somebody else's file, or no room.
  }
}
