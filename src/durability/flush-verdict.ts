/**
 * Judges what a disk's flush is worth from what can be seen without cutting its power. "refuted" is only said of what was
 * shown; nothing but a power cut proves a flush, so the best word here is "plausible".
 */

import type { DeviceFacts } from './device-facts.ts';
import type { FlushTiming } from './flush-timing.ts';

export type FlushVerdict = {
  readonly kind: 'refuted' | 'unproven' | 'plausible';
  /** One sentence for people. */
  readonly summary: string;
  readonly reasons: readonly string[];
};

/** Half a turn of a 15,000 rpm disk is 2 ms: a flush that is on the platter cannot be faster on average. */
const ROTATING_FLUSH_US_MIN = 2000;
/** Programming a page of TLC flash takes 400 to 1,000 µs, of SLC-mode flash 100 to 200 µs. */
const FLASH_FLUSH_US_MIN = 100;

export function judgeFlush(facts: DeviceFacts, timing: FlushTiming): FlushVerdict {
  const refuted = refutation(facts, timing);
  if (refuted !== undefined) {
    return {
      kind: 'refuted',
      summary: `A flush protects nothing here: ${refuted}`,
      reasons: [refuted],
    };
  }
  const doubts = doubtsOf(facts, timing);
  if (doubts.length > 0) {
    return {
      kind: 'unproven',
      summary:
        'A flush may or may not survive a power cut here; only pulling the plug tells ' +
        '(holdfast verify-durability run)',
      reasons: doubts,
    };
  }
  return {
    kind: 'plausible',
    summary: 'The flush reaches the drive and takes as long as a real one does',
    reasons: [timingWords(timing)],
  };
}

function refutation(facts: DeviceFacts, timing: FlushTiming): string | undefined {
  if (facts.kind === 'memory') {
    return `"${facts.mountPoint}" is a ${facts.fileSystem} in memory; a power cut empties it`;
  }
  const off = facts.mountOptions.find((each) => each === 'nobarrier' || each === 'barrier=0');
  if (off !== undefined) {
    return `"${facts.mountPoint}" is mounted with "${off}": the file system sends no flush to the drive`;
  }
  const sent = timing.deviceFlushCount;
  // Concurrent flushes of others only raise the count, and the kernel never merges flushes that follow one another.
  if (facts.writeCache === 'write back' && sent !== undefined && sent < timing.flushCount / 2) {
    return (
      `the drive has a volatile write cache, and of ${timing.flushCount} fdatasync calls only ` +
      `${sent} reached it as a flush`
    );
  }
  return undefined;
}

function doubtsOf(facts: DeviceFacts, timing: FlushTiming): string[] {
  const doubts: string[] = [];
  const fast = timing.flushMedianUs;
  if (facts.kind === 'virtual disk') {
    doubts.push(
      'it is a virtual disk: whether the flush goes further than the host depends on the host ' +
        `(QEMU: cache=unsafe ignores it). ${timingWords(timing)}`,
    );
  }
  if (facts.kind === 'network file system') {
    doubts.push(
      `it is a network file system (${facts.fileSystem}): the server decides what a flush does`,
    );
  }
  if (
    facts.kind === 'loop device' ||
    facts.kind === 'device mapper' ||
    facts.kind === 'software raid'
  ) {
    doubts.push(`it is a ${facts.kind} ("${facts.device}"): what lies below was not looked at`);
  }
  if (facts.kind === 'unknown') doubts.push('the device below could not be found');
  if (facts.writeCache === 'write through') {
    doubts.push(
      'the drive says that it has no volatile write cache, so that the kernel sends no flush: right for drives with ' +
        'power-loss protection and for controllers with a battery, wrong for any other',
    );
  }
  if (facts.kind === 'rotating disk' && fast < ROTATING_FLUSH_US_MIN) {
    doubts.push(
      `${timingWords(timing)}; no platter turns that fast (${ROTATING_FLUSH_US_MIN} µs at best): a controller cache ` +
        'with a battery answers, or the flush is ignored',
    );
  }
  if (facts.kind === 'solid-state disk' && fast < FLASH_FLUSH_US_MIN) {
    doubts.push(
      `${timingWords(timing)}; flash takes ${FLASH_FLUSH_US_MIN} µs at best: the drive has power-loss protection, or it ` +
        'ignores the flush',
    );
  }
  return doubts;
}

function timingWords(timing: FlushTiming): string {
  return (
    `a flush takes ${Math.round(timing.flushMedianUs)} µs (median of ${timing.flushCount}), ` +
    `a write without it ${Math.round(timing.writeMedianUs)} µs`
  );
}
