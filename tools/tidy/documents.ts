/** Rules about what documents promise. */

import type { Source } from './sources.ts';

const NAMED = /\bnpm run ([\w:-]+)/gu;

/** Every `npm run X` of a document is a script of package.json; `X:*` stands for a family of them. */
export function checkScripts(documents: readonly Source[], scripts: readonly string[]): string[] {
  return documents.flatMap(({ path, text }) =>
    Array.from(text.matchAll(NAMED), ([, name = '']) => name)
      .filter((name) => !isScript(name, scripts))
      .map((name) => `${path}: "npm run ${name}" is no script of package.json`),
  );
}

function isScript(name: string, scripts: readonly string[]): boolean {
  // The match of `chaos:*` ends before the star.
  if (name.endsWith(':')) return scripts.some((script) => script.startsWith(name));
  return scripts.includes(name);
}
