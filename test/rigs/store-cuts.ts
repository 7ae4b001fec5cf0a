/**
 * What control does to its store, from strace: writes, flushes, and the answers that it gives in between. From that, the files as a power
 * cut at any step leaves them: what was flushed is there; of the rest each sector is, or is not, by chance.
 */

import fs from 'node:fs';
import path from 'node:path';

import type { Prng } from '../../src/lib/prng.ts';
import { SECTOR_BYTES } from './stamps.ts';

/** Of these the store's files are rebuilt; SQLite makes `-shm` anew. */
const FILES = ['state.db', 'state.db-wal'];

export type StoreStep =
  | { readonly kind: 'write'; readonly file: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly file: string; readonly sizeBytes: number }
  | { readonly kind: 'flush'; readonly file: string }
  /** A client was told that the volume of this name is there. */
  | { readonly kind: 'answer'; readonly name: string };

/** For `strace -ff -xx`: what {@link readSteps} reads, with all bytes. */
export const STRACE_OPTIONS: readonly string[] = [
  '-ff',
  '-qq',
  '-xx',
  '--string-limit=200000',
  '--trace=openat,close,pwrite64,pwritev,write,writev,sendmsg,fdatasync,fsync,ftruncate',
];

/** The steps of the thread that works on the store, in order. `prefix` is strace's `-o`; `directory` holds the store. */
export function readSteps(prefix: string, directory: string): StoreStep[] {
  const folder = path.dirname(prefix);
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(`${path.basename(prefix)}.`)) continue;
    const steps = stepsOf(fs.readFileSync(path.join(folder, name), 'latin1'), directory);
    if (steps.some(({ kind }) => kind === 'write')) return steps;
  }
  return [];
}

function stepsOf(text: string, directory: string): StoreStep[] {
  const open = new Map<string, string>();
  return text.split('\n').flatMap((line): StoreStep[] => {
    const [, call = '', values = '', result = ''] = /^(\w+)\((.*)\) += (-?\d+)/.exec(line) ?? [];
    const fd = call === 'openat' ? result : (/^\d+/.exec(values)?.[0] ?? '');
    if (call === 'openat') {
      const file = path.relative(directory, bytesIn(values).toString());
      if (FILES.includes(file)) open.set(fd, file);
      else open.delete(fd);
      return [];
    }
    const file = open.get(fd);
    if (file === undefined) return answersIn(values);
    switch (call) {
      case 'close':
        open.delete(fd);
        return [];
      case 'pwrite64': {
        const at = Number(/, (\d+)$/.exec(values)?.[1]);
        return [{ kind: 'write', file, at, bytes: bytesIn(values) }];
      }
      case 'ftruncate':
        return [{ kind: 'truncate', file, sizeBytes: Number(/, (\d+)$/.exec(values)?.[1]) }];
      case 'fsync':
      case 'fdatasync':
        return [{ kind: 'flush', file }];
      default:
        throw new Error(`the store's ${file} is changed by ${call}, which is not known here`);
    }
  });
}

/** What is in quotation marks, as `-xx` prints it. */
function bytesIn(values: string): Buffer {
  const parts = [...values.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)];
  return Buffer.from(parts.map(([, hex = '']) => hex.replaceAll('\\x', '')).join(''), 'hex');
}

function answersIn(values: string): StoreStep[] {
  const text = bytesIn(values).toString('latin1');
  if (!text.startsWith('HTTP/1.1 200')) return [];
  const name = /"name":"([^"]+)"/.exec(text)?.[1];
  return name === undefined ? [] : [{ kind: 'answer', name }];
}

/** Writes the store's files into `folder` as a power cut behind the first `count` steps leaves them. */
export function cutStore(
  steps: readonly StoreStep[],
  options: {
    readonly count: number;
    readonly folder: string;
    readonly random: Prng;
    /** For the canary: a disk that answers flushes, and does not flush. */
    readonly ignoresFlushes?: boolean;
  },
): void {
  const { count, folder, random, ignoresFlushes = false } = options;
  fs.mkdirSync(folder, { recursive: true });
  for (const file of FILES) {
    const image = new Image(steps.filter((step) => 'file' in step && step.file === file));
    let pending: StoreStep[] = [];
    for (const step of steps.slice(0, count)) {
      if (step.kind === 'answer' || step.file !== file) continue;
      if (step.kind !== 'flush') pending.push(step);
      else if (!ignoresFlushes) {
        for (const each of pending) image.apply(each);
        pending = [];
      }
    }
    for (const step of pending) image.applyByChance(step, random);
    fs.writeFileSync(path.join(folder, file), image.content);
  }
}

class Image {
  readonly #bytes: Buffer;
  #length = 0;

  /** With room for all that these steps write. */
  constructor(steps: readonly StoreStep[]) {
    const ends = steps.map((step) => (step.kind === 'write' ? step.at + step.bytes.length : 0));
    this.#bytes = Buffer.alloc(ends.reduce((most, end) => Math.max(most, end), 0));
  }

  get content(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  apply(step: StoreStep): void {
    if (step.kind === 'truncate') this.#truncate(step.sizeBytes);
    if (step.kind === 'write') this.#write(step.at, step.bytes);
  }

  /** Each sector of a write, and a truncation, is lost or not. */
  applyByChance(step: StoreStep, random: Prng): void {
    if (step.kind === 'truncate' && random.chance(50)) this.#truncate(step.sizeBytes);
    if (step.kind !== 'write') return;
    const { at, bytes } = step;
    for (let from = 0; from < bytes.length;) {
      const length = Math.min(bytes.length - from, SECTOR_BYTES - ((at + from) % SECTOR_BYTES));
      if (random.chance(50)) this.#write(at + from, bytes.subarray(from, from + length));
      from += length;
    }
  }

  #write(at: number, bytes: Buffer): void {
    bytes.copy(this.#bytes, at);
    this.#length = Math.max(this.#length, at + bytes.length);
  }

  #truncate(sizeBytes: number): void {
    this.#bytes.fill(0, sizeBytes);
    this.#length = Math.min(this.#bytes.length, sizeBytes);
  }
}
