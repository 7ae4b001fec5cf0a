/** Files that nothing leads to. */

import { posix } from 'node:path';
import { isTest, type Source } from './sources.ts';

/**
 * Files that are reached neither from a test, nor from a script of package.json, nor from a program. A program's own header
 * shows how it is run: `node tools/x.ts`.
 */
export function checkDeadFiles(sources: readonly Source[], packageJson: string): string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const waiting = sources.filter(
    (source) => isTest(source) || packageJson.includes(source.path) || isProgram(source),
  );
  const reached = new Set(waiting.map((source) => source.path));
  for (let source = waiting.pop(); source !== undefined; source = waiting.pop()) {
    for (const path of mentionedBy(source)) {
      const target = byPath.get(path);
      if (target === undefined || reached.has(path)) continue;
      reached.add(path);
      waiting.push(target);
    }
  }
  return sources
    .filter(({ path }) => !reached.has(path) && !path.startsWith('bootstrap/'))
    .map(({ path }) => `${path}: nothing leads to it; delete it, or name its use in its header`);
}

function isProgram({ path, text }: Source): boolean {
  return text.slice(0, 2000).includes(`node ${path}`) || path === 'src/main.ts';
}

/** Paths in quotes, relative to the file or to the root: imports, and scripts that are started by name. */
function mentionedBy({ path, text }: Source): string[] {
  const quoted = [...text.matchAll(/['"`]([^'"`\n]*\.(?:ts|mjs))['"`]/g)].map(([, q]) => q ?? '');
  // Hooks are named in an environment variable, by their bare names.
  const hooks = [...text.matchAll(/HOLDFAST_TEST_HOOKS: '([\w-]+)'/g)].map(
    ([, name]) => `test/hooks/${name}.ts`,
  );
  const paths = quoted.flatMap((mention) => [
    posix.join(posix.dirname(path), mention),
    posix.normalize(mention.replace(/^.*\}/, '')),
  ]);
  return [...paths, ...hooks];
}
