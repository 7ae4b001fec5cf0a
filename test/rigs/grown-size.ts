/** What tests of growing file systems ask of the machine. */

import fs from 'node:fs';

/** The size of the file system mounted at `mountPath`, in bytes. */
export function sizeOfMounted(mountPath: string): number {
  const { blocks, bsize } = fs.statfsSync(mountPath);
  return blocks * bsize;
}

/** Whether the processes that this one starts have CAP_SYS_RESOURCE (24), without which no mounted ext4 grows. */
export function hasSysResource(): boolean {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'));
  return ((BigInt(`0x${line![1]!}`) >> 24n) & 1n) === 1n;
}
