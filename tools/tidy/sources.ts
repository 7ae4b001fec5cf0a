/** The repository's own files, as the tidy rules see them. */

import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

export type Source = {
  /** Relative to the repository's root, with slashes. */
  readonly path: string;
  readonly text: string;
};

/** All of our code. */
export function readSources(): Source[] {
  const patterns = ['{src,sim,test,tools,bench}/**/*.{ts,mjs}', 'bootstrap/*.mjs'];
  const paths = globSync(patterns, { cwd: ROOT }).toSorted();
  return paths.map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }));
}

export const isTest = ({ path }: Source): boolean => /\.(test|fuzz)\.ts$/.test(path);

/** Suites that several test files run, such as src/metadata/compliance.ts. */
export const isSuite = ({ path }: Source): boolean => /compliance[\w-]*\.ts$/.test(path);

/** What a file imports: `./` and `../` resolved to paths, packages and `node:` modules as they are. */
export function importsOf({ path, text }: Source): string[] {
  const pattern = /(?:^|\n)(?:import|export)\s[^'";]*?from\s+'([^']+)'|\bimport\(?\s*'([^']+)'/g;
  return [...text.matchAll(pattern)].map(([, from, bare]) => {
    const target = from ?? bare ?? '';
    return target.startsWith('.') ? posix.join(posix.dirname(path), target) : target;
  });
}

/** The line, counted from 1, at `index` of `text`. */
export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}
