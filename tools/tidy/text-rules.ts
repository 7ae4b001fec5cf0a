/** Rules about the text of one file. */

import { isTest, lineAt, type Source } from './sources.ts';

/** A file past this is two. */
const FILE_LINES_MAX = 400;

/** Files that were longer when the rule came, with their lines then. Entries only shrink and go. */
const LONG_FILES: Readonly<Record<string, number>> = {
  'src/store/changer.ts': 452,
  'src/store/core.ts': 438,
  'src/store/log.ts': 427,
};

export function checkFileLength({ path, text }: Source): string[] {
  const count = text.split('\n').length - 1;
  const allowed = LONG_FILES[path] ?? FILE_LINES_MAX;
  return count > allowed ? [`${path} has ${count} lines, more than ${allowed}: split it`] : [];
}

/** Each file says first what it is: a docstring at its top, or at its first export. */
export function checkHeader(source: Source): string[] {
  if (isTest(source)) return [];
  const firstExport = source.text.search(/^export /m);
  const head = firstExport < 0 ? source.text : source.text.slice(0, firstExport);
  if (head.includes('/**')) return [];
  return [`${source.path}: no docstring says what it is; one sentence at its top does`];
}

/**
 * Exported functions and classes have a docstring. The file's own will do for the one that the file is named for, and for
 * the only one.
 */
export function checkExports(source: Source): string[] {
  if (isTest(source) || !source.path.startsWith('src/')) return [];
  const lines = source.text.split('\n');
  const exported = lines.flatMap((line, index) => {
    const [, name] =
      /^export (?:async )?(?:abstract )?(?:function\*?|class) (\w+)/.exec(line) ?? [];
    return name === undefined ? [] : [{ name, index }];
  });
  const hasHeader = checkHeader(source).length === 0;
  if (exported.length === 1 && hasHeader) return [];
  const own = source.path.replaceAll(/^.*\/|\.ts$|-/g, '');
  return exported
    .filter(({ name }) => !hasHeader || name.toLowerCase() !== own)
    .filter(({ index }) => lines[index - 1]?.endsWith('*/') !== true)
    .map(
      ({ name, index }) => `${source.path}:${index + 1}: ${name} is exported without a docstring`,
    );
}

export function checkNotes({ path, text }: Source): string[] {
  const pattern = new RegExp(['FIX', 'ME|XX', 'X|TO', 'DO(?!\\(#\\d+\\):)'].join(''), 'g');
  return [...text.matchAll(pattern)].map(
    (match) =>
      `${path}:${lineAt(text, match.index)}: ${match[0]}: do it, or write an issue and its number`,
  );
}

type Ban = {
  readonly call: RegExp;
  /** Where it is banned. */
  readonly paths: RegExp;
  readonly instead: string;
};

/** Code that the simulator runs, or must be able to. What starts a process (x-main.ts) is none of it. */
const SIMULATED = /^src\/(lib|model|wire|store|peer|engine)\/(?!.*(\.test|-main)\.ts$)/;

const BANS: readonly Ban[] = [
  {
    call: /\bDate\.now\(|\bperformance\.now\(|\bprocess\.hrtime/,
    paths: SIMULATED,
    instead: 'io.nowUs()',
  },
  {
    call: /\bDate\.now\(\) [-+<>]/,
    paths: /^src\//,
    instead: 'performance.now(): the wall clock jumps, and a wait with it',
  },
  {
    call: /\b(setTimeout|setInterval|setImmediate)\(/,
    paths: SIMULATED,
    instead: 'io.timer(), or IoAsync in cold code',
  },
  {
    call: /\bMath\.random\(|\brandomBytes\(|\brandomUUID\(/,
    paths: SIMULATED,
    instead: 'env.random',
  },
  {
    call: /\bAbortSignal\.timeout\(|\bnew WeakRef\(|\bnew FinalizationRegistry\(/,
    paths: SIMULATED,
    instead: 'a timer and an owner that are visible to the simulator',
  },
  {
    call: /\bconsole\.\w+\(/,
    paths: /^(?!.*\.test\.ts$)/,
    instead: 'process.stdout.write in programs, JsonLog in processes',
  },
  {
    call: /\bas any\b/,
    paths: /./,
    instead: 'a type, or a check at run time',
  },
  {
    call: /\b(test|suite|describe|it)\.only\(/,
    paths: /\.test\.ts$/,
    instead: 'node --test-name-pattern on the command line',
  },
  {
    call: /\bexecSync\(/,
    paths: /./,
    instead: 'execFile with a list of arguments: no shell reads them',
  },
];

export function checkBans({ path, text }: Source): string[] {
  const code = withoutComments(text);
  return BANS.filter(({ paths }) => paths.test(path)).flatMap(({ call, instead }) =>
    [...code.matchAll(new RegExp(call, 'g'))].map(
      (match) => `${path}:${lineAt(code, match.index)}: ${match[0]} is banned here: ${instead}`,
    ),
  );
}

/** Comments become blanks, so that lines keep their numbers. */
function withoutComments(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ' '))
    .replaceAll(/(^|\s)\/\/.*$/gm, '$1');
}
