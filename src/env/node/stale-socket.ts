/** Socket files that a dead process left. */

import fs from 'node:fs';
import net from 'node:net';

import { EADDRINUSE, ECONNREFUSED, ErrnoError } from '../../model/errno.ts';
import { errnoOf } from './errno-of.ts';

/**
 * Removes the socket file at `path` if nobody listens on it. Rejects with EADDRINUSE if somebody does, or if what is
 * there is no socket.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const stat = fs.lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  const stale = stat.isSocket() && (await connectErrno(path)) === ECONNREFUSED;
  if (!stale) throw new ErrnoError({ errno: EADDRINUSE, syscall: 'bind', path });
  await fs.promises.unlink(path);
}

function connectErrno(path: string): Promise<number> {
  return new Promise((resolve) => {
    const socket = net.connect({ path });
    socket.once('error', (error) => resolve(errnoOf(error)));
    socket.once('connect', () => {
      socket.destroy();
      resolve(0);
    });
  });
}
