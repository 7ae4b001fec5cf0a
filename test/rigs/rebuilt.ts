/** Copies of this build that have another version, and may be changed: what an upgrade brings. */

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';

const ROOT = new URL('../../', import.meta.url).pathname;

/** One text of a source file and what it becomes. */
export type Change = { readonly file: string; readonly from: string; readonly to: string };

/** Makes a build of `version` below `directory`, with `changes`. Returns its program. */
export function rebuild(
  directory: string,
  version: string,
  changes: readonly Change[] = [],
): string {
  const build = path.join(directory, `build-${version}`);
  fs.mkdirSync(build);
  for (const folder of ['src', 'bin', 'bootstrap']) {
    fs.cpSync(path.join(ROOT, folder), path.join(build, folder), { recursive: true });
  }
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(build, 'node_modules'));
  const manifest = fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8');
  fs.writeFileSync(
    path.join(build, 'package.json'),
    JSON.stringify({ ...JSON.parse(manifest), version }),
  );
  for (const { file, from, to } of changes) {
    const text = fs.readFileSync(path.join(build, file), 'utf8');
    assert.ok(text.includes(from), `${file} has ${from}`);
    fs.writeFileSync(path.join(build, file), text.replace(from, to));
  }
  return path.join(build, 'bin', 'holdfast');
}
