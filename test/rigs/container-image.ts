/** Root file systems for containers, made of this machine's own programs: no registry is asked. */

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';

const TOOLS = ['sh', 'cat', 'chown', 'ls', 'sleep', 'sync'].map((name) => `/bin/${name}`);

/** What the image has in /seed, which a container engine copies to a fresh volume. */
export const SEED = 'from the image';

export type ImageParts = {
  /** Folders and programs of this machine; programs come with the libraries that they need. */
  readonly files: readonly string[];
  /** Owns /database, which a container engine hands on to a fresh volume. */
  readonly owner: { readonly uid: number; readonly gid: number };
};

/** Makes the file `tar`: a shell, some tools, and what `parts` names. */
export function makeImage(tar: string, parts?: ImageParts): void {
  const more = parts?.files ?? [];
  const root = `${tar}.root`;
  for (const name of ['tmp', 'etc', 'proc', 'sys', 'dev', 'data', 'seed', 'socket', 'database']) {
    fs.mkdirSync(path.join(root, name), { recursive: true });
  }
  fs.chmodSync(path.join(root, 'tmp'), 0o1777);
  fs.writeFileSync(path.join(root, 'seed', 'file'), SEED);
  if (parts !== undefined) {
    fs.chownSync(path.join(root, 'database'), parts.owner.uid, parts.owner.gid);
  }
  fs.copyFileSync('/etc/passwd', path.join(root, 'etc', 'passwd'));
  fs.copyFileSync('/etc/group', path.join(root, 'etc', 'group'));
  const programs = [...TOOLS, ...more.flatMap(programsIn)];
  if (more.length > 0) execFileSync('cp', ['--recursive', '--parents', ...more, root]);
  execFileSync('cp', ['--dereference', '--parents', ...TOOLS, ...librariesOf(programs), root]);
  execFileSync('tar', ['--create', '--file', tar, '--directory', root, '.']);
  fs.rmSync(root, { recursive: true });
}

/** The files in a folder that are to be run or loaded, or the file itself. */
function programsIn(at: string): string[] {
  if (!fs.statSync(at).isDirectory()) return [at];
  return fs
    .readdirSync(at, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(at, name))
    .filter((file) => isElf(file));
}

function isElf(file: string): boolean {
  if (!fs.statSync(file).isFile()) return false;
  const fd = fs.openSync(file, 'r');
  const magic = Buffer.alloc(4);
  fs.readSync(fd, magic);
  fs.closeSync(fd);
  return magic.toString('latin1') === '\x7fELF';
}

/** Paths of the libraries and of the loader, as ldd has them. */
function librariesOf(programs: readonly string[]): string[] {
  const output = execFileSync('ldd', programs, { encoding: 'utf8' });
  return [...new Set(output.match(/\/\S+(?= \(0x)/g))];
}
