/** The four copies of the superblock: which one counts, and what the others have. */

import { type Findings, NO_WAY_BUT_COPIES } from './check-report.ts';
import { type FoundSuperblocks, superblockProblem } from './load.ts';
import type { ParsedSuperblock, Superblock } from './superblock.ts';

const NAMES = [
  'superblock 0',
  'superblock 1',
  'superblock 0, mirror at the end of the drive',
  'superblock 1, mirror at the end of the drive',
] as const;

/** Returns the one that counts, or undefined where an opening would end here. */
export function checkSuperblocks(
  found: FoundSuperblocks,
  fileBytes: number,
  findings: Findings,
): Superblock | undefined {
  const { newest, copies } = found;
  if (newest === undefined) {
    withoutNewest(found, findings);
    return undefined;
  }
  for (const [index, copy] of copies.entries()) checkCopy({ newest, index, copy }, findings);
  if (newest.layout.sizeBytes <= fileBytes) return newest;
  findings.add({
    code: 'DRIVE_CUT_OFF',
    severity: 'damage',
    where: 'drive',
    what: `It is ${fileBytes} bytes long, and was ${newest.layout.sizeBytes} when superblock ${newest.n} was written`,
    consequence: 'The drive does not open: what lay past its end is missing',
    wayOut: 'Give the file or device its size back, with what it held',
  });
  return undefined;
}

function withoutNewest(found: FoundSuperblocks, findings: Findings): void {
  const has = (kind: ParsedSuperblock['kind']): boolean =>
    found.copies.some((copy) => copy.kind === kind);
  if (has('unsupported')) {
    findings.add({
      code: 'FORMAT_UNSUPPORTED',
      severity: 'damage',
      where: 'superblocks',
      what: `One of them is of a newer program: ${superblockProblem(found)}`,
      consequence:
        'This build neither opens nor checks it; nothing is wrong with the drive as such',
      wayOut: 'Use the release that wrote it, or a later one',
    });
  } else if (has('rotten')) {
    findings.add({
      code: 'SUPERBLOCKS_LOST',
      severity: 'damage',
      where: 'superblocks',
      what: 'None of the four copies verifies',
      consequence: 'The drive does not open: where its parts lie is not known',
      wayOut: NO_WAY_BUT_COPIES,
    });
  } else {
    findings.add({
      code: 'SUPERBLOCKS_MISSING',
      severity: 'damage',
      where: 'superblocks',
      what: 'There is none: Holdfast never formatted this file or device, or not to the end',
      consequence: 'It is no drive',
      wayOut: 'holdfast drive add formats it, where nothing on it is needed',
    });
  }
}

function checkCopy(
  at: { readonly newest: Superblock; readonly index: number; readonly copy: ParsedSuperblock },
  findings: Findings,
): void {
  const { newest, index, copy } = at;
  // A checkpoint writes the pair that the one before did not use. Formatting writes pair 1 only.
  const isNewestPair = index % 2 === newest.n % 2;
  const wanted = isNewestPair ? newest.n : newest.n - 1;
  if (wanted === 0 && copy.kind === 'foreign') return;
  if (copy.kind === 'ok' && copy.superblock.n === wanted) return;
  const where = NAMES[index] ?? `superblock copy ${index}`;
  if (copy.kind === 'ok') {
    findings.add({
      code: 'SUPERBLOCK_OLD',
      severity: isNewestPair ? 'note' : 'warning',
      where,
      what: `It is number ${copy.superblock.n}, and ${wanted} belongs there`,
      consequence: isNewestPair
        ? 'Power went while a checkpoint wrote the pair, or this write was lost; the other copy is used, and the next opening writes this one anew'
        : 'A write that the drive reported as durable is missing; the newer pair is used, and the next opening writes this one anew',
    });
    return;
  }
  findings.add({
    code: 'SUPERBLOCK_COPY',
    severity: 'warning',
    where,
    what:
      copy.kind === 'rotten'
        ? 'It does not verify, or cannot be read: rot, or a write that a power cut tore'
        : 'There is none',
    consequence: `Superblock ${newest.n} is good in another copy and is used; the next opening writes this one anew`,
  });
}
