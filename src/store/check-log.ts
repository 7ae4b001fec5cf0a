/** What the log has to say: what the next opening replays, and whether the log is whole. */

import { BLOCK_BYTES } from '../model/block-target.ts';
import { formatSize } from '../model/sizes.ts';
import { type Findings, NO_WAY_BUT_COPIES } from './check-report.ts';
import type { Voids } from './judge.ts';
import type { LogDamage, LogScan } from './log-reader.ts';
import { bitCount } from './piece.ts';
import type { Superblock } from './superblock.ts';

export type LogToCheck = {
  readonly scan: LogScan;
  /** Of a log that was replayed. */
  readonly voids: Voids | undefined;
  readonly superblock: Superblock;
};

/** Returns the bytes of the frames that wait with changes. */
export function checkLog(log: LogToCheck, findings: Findings): number {
  const { scan, superblock } = log;
  const blocks = scan.frames.reduce((sum, frame) => sum + frame.blocks, 0);
  if (scan.damage !== undefined) addDamage(scan.damage, findings);
  if (scan.frames.length === 0) return 0;
  const first = superblock.tailLsn;
  const last = first + scan.frames.length - 1;
  // A clean close leaves the open marks of replicas there, and nothing else.
  if (superblock.clean && last <= superblock.marksLsn) return 0;
  let voidBlocks = 0;
  for (const mask of log.voids?.values() ?? []) voidBlocks += bitCount(mask);
  findings.add({
    code: 'LOG_TO_REPLAY',
    severity: 'note',
    where: 'log',
    what: `Frames ${first} to ${last} (${formatSize(blocks * BLOCK_BYTES)}) after checkpoint ${superblock.n} wait for the next opening: the drive was not closed. Frames up to ${scan.durableLsn} say that they were flushed`,
    consequence:
      voidBlocks === 0
        ? 'They replay completely; what follows here is the state after that'
        : `${voidBlocks} blocks of changes that nobody flushed did not arrive: they keep their former content. The rest replays; what follows here is the state after that`,
  });
  return blocks * BLOCK_BYTES;
}

function addDamage(damage: LogDamage, findings: Findings): void {
  if (damage.kind === 'stale') {
    findings.add({
      code: 'SUPERBLOCK_STALE',
      severity: 'damage',
      where: 'superblocks',
      what: `The newest good one is not the drive's newest: ${damage.problem}`,
      consequence:
        'The drive does not open: this superblock names pages and log that are overwritten',
      wayOut: NO_WAY_BUT_COPIES,
    });
    return;
  }
  findings.add({
    code: 'LOG_DAMAGED',
    severity: 'damage',
    where: 'log',
    what: `It has a hole: ${damage.problem}`,
    consequence:
      'The drive does not open: changes that were flushed are lost, and later ones cannot be told from what they built on',
    wayOut: `If it happened with a power cut, the drive lied about its flushes. ${NO_WAY_BUT_COPIES}`,
  });
}
