/** Whether volumes can be mounted on this machine. */

import { existsSync, readFileSync } from 'node:fs';

/** capabilities(7): the number of CAP_SYS_ADMIN, which mounting needs. */
const CAP_SYS_ADMIN = 21n;

/** Why nothing can be mounted here, or undefined. */
export function mountProblem() {
  if (process.platform !== 'linux') return `${process.platform} has neither FUSE nor NBD devices`;
  if (process.getuid() !== 0) return 'it needs root';
  const status = readFileSync('/proc/self/status', 'utf8');
  const [, capabilities = '0'] = /^CapEff:\s*([0-9a-f]+)/m.exec(status) ?? [];
  if (((BigInt(`0x${capabilities}`) >> CAP_SYS_ADMIN) & 1n) === 0n) {
    return 'this container may not mount (no CAP_SYS_ADMIN)';
  }
  const hasFuse = existsSync('/dev/fuse') && existsSync('/dev/loop-control');
  if (!hasFuse && !existsSync('/sys/module/nbd')) {
    return 'there is neither /dev/fuse with loop devices nor kernel nbd';
  }
  return undefined;
}

/** The device by which a volume will be mounted, in words. */
export function deviceKind() {
  return existsSync('/sys/module/nbd')
    ? 'NBD devices (/dev/nbdN), while the tour runs'
    : 'loop devices (/dev/loopN) on FUSE files, while the tour runs';
}
