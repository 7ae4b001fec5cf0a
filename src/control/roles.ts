/** The processes of an installation, and how each is started: by the supervisor, or as a unit of systemd. */

import path from 'node:path';

export const ROLES = ['engine', 'attacher', 'control'] as const;
export type Role = (typeof ROLES)[number];

/** All that is kept running: the roles of this program, and before them, on some nodes of a cluster, a member of etcd. */
export const KEPT = ['etcd', ...ROLES] as const;
export type Kept = (typeof KEPT)[number];

/**
 * V8's young generation in MiB, since memory is counted: the engine allocates next to nothing; control does, and what is pushed out of a
 * smaller one stays for long (with 1,000 volumes it has 127 MiB, and 172 without a limit).
 */
const NODE_FLAGS: Readonly<Record<Role, readonly string[]>> = {
  engine: ['--max-semi-space-size=1'],
  attacher: ['--max-semi-space-size=1'],
  control: ['--max-semi-space-size=4'],
};

/** The folder of this program: package.json, bin, src. */
export const PROGRAM_ROOT: string = new URL('../../', import.meta.url).pathname.replace(/\/$/, '');

/** In the npm package it is JavaScript: Node strips no types below node_modules. */
const MAIN = `main${path.extname(import.meta.filename)}`;

export const mainPath = (root: string): string => path.join(root, 'src', MAIN);

/** Whether `word`, of a command line, is the program, of this build or another. */
export const isMain = (word: string): boolean => /\/src\/main\.[jt]s$/.test(word);

/** What follows Node on the command line of a role. */
export function roleWords(role: Role, options: { root: string; data: string }): readonly string[] {
  return [...NODE_FLAGS[role], mainPath(options.root), role, '--data', options.data];
}

/** Compiled code is cached there: 0.4 s less at each start, and 27 MB less memory, since the type stripper is not loaded. */
export const compileCache = (root: string): string =>
  path.join(root, 'node_modules', '.cache', 'holdfast');
