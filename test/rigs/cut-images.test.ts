import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Prng } from '../../src/lib/prng.ts';
import { JournalWriter } from '../hooks/io-journal.ts';
import { monotonicNs } from './change-history.ts';
import { CutImages } from './cut-images.ts';
import { JournalReader } from './journal-reader.ts';

const SECTORS = 16;

type Moments = { readonly beforeFlush: number; readonly afterFlush: number; readonly end: number };

/** A drive that got "a" flushed, "b" completed after the flush was submitted, and "c" never completed. */
function record(folder: string): { journal: JournalReader; moments: Moments } {
  const drive = openSync(join(folder, 'drive'), 'w');
  const other = openSync(join(folder, 'other'), 'w');
  const writer = new JournalWriter(join(folder, 'journal'));
  const write = (fd: number, letter: string, sector: number): number =>
    writer.submitted({
      kind: 'write',
      fd,
      positionBytes: sector * 512,
      bytes: Buffer.alloc(4 * 512, letter),
    });
  writer.completed(write(drive, 'a', 0), 4 * 512);
  writer.completed(write(other, 'x', 0), 4 * 512);
  writer.completed(write(drive, 'a', 8), 4 * 512);
  const late = write(drive, 'b', 0);
  const flush = writer.submitted({ kind: 'flush', fd: drive });
  writer.completed(late, 4 * 512);
  const beforeFlush = monotonicNs();
  writer.completed(flush, 0);
  const afterFlush = monotonicNs();
  // Zeros over the second half of what is durable, and a write that fails.
  writer.completed(write(drive, '\0', 10), 4 * 512);
  writer.completed(write(drive, 'f', 4), -5);
  write(drive, 'c', 4);
  const end = monotonicNs();
  const fileId = statSync(join(folder, 'drive')).ino;
  closeSync(drive);
  closeSync(other);
  const journal = new JournalReader(join(folder, 'journal'), { pid: process.pid, fileId });
  return { journal, moments: { beforeFlush, afterFlush, end } };
}

/** The image's sectors by their first letter; "." for zeros. */
function letters(path: string): string {
  const bytes = readFileSync(path);
  return Array.from({ length: SECTORS }, (_, sector) => {
    const part = bytes.subarray(sector * 512, (sector + 1) * 512);
    assert.ok(
      part.every((byte) => byte === part[0]),
      'sectors are whole',
    );
    return part[0] === 0 ? '.' : String.fromCodePoint(part[0] ?? 0);
  }).join('');
}

test('cut keeps what was flushed and, sector by sector, anything of the rest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-cuts-'));
  try {
    const { journal, moments } = record(folder);
    const seen = {
      beforeFlush: new Set<string>(),
      afterFlush: new Set<string>(),
      end: new Set<string>(),
    };
    for (let seed = 1; seed <= 40; seed++) {
      const images = new CutImages(journal, {
        random: new Prng(seed),
        certainPath: join(folder, 'certain'),
        sizeBytes: SECTORS * 512,
      });
      for (const name of ['beforeFlush', 'afterFlush', 'end'] as const) {
        images.cut(moments[name], join(folder, 'image'));
        seen[name].add(letters(join(folder, 'image')));
      }
    }
    assert.ok(
      seen.beforeFlush.has('................'),
      'before the flush returned, all may be lost',
    );
    for (const image of seen.afterFlush) assert.match(image, /^[ab]{4}.{4}a{4}\.{4}$/u);
    assert.ok(seen.afterFlush.has('aaaa....aaaa....') && seen.afterFlush.has('bbbb....aaaa....'));
    for (const image of seen.end) assert.match(image, /^[ab]{4}[fc.]{4}aa[a.]{2}\.{4}$/u);
    assert.ok([...seen.end].some((image) => /c/u.test(image) && /b.*a|a.*b/u.test(image)));
    journal.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
