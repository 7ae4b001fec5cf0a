/** Imports go down only. The table of who may import whom, and its check. */

import { importsOf, isSuite, isTest, type Source } from './sources.ts';

/** By folder of src: the folders that it may import. `main` is src/main.ts, which loads each role when it is asked for. */
export const IMPORT_TABLE: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  model: ['lib'],
  env: ['lib', 'model'],
  wire: ['lib', 'model'],
  replication: ['lib', 'model'],
  placement: ['lib', 'model'],
  store: ['lib', 'model', 'env'],
  peer: ['lib', 'model', 'env', 'replication'],
  metadata: ['lib', 'model', 'env'],
  durability: ['lib', 'model', 'env'],
  engine: ['lib', 'model', 'env', 'wire', 'store', 'replication', 'peer'],
  attacher: ['lib', 'model', 'env', 'wire'],
  // It sweeps, and mounts, what the attacher has made.
  control: [
    'lib',
    'model',
    'env',
    'wire',
    'metadata',
    'attacher',
    'peer',
    'replication',
    'placement',
  ],
  cli: ['lib', 'model', 'env', 'store', 'metadata', 'durability', 'attacher', 'control'],
  // It uses Holdfast by its command line, as a user does, and speaks NBD to it.
  tour: ['lib', 'model', 'env', 'wire'],
  main: ['engine', 'attacher', 'control', 'cli'],
};

/** These take time, randomness and I/O from nowhere, or from Env alone. */
const WITHOUT_NODE = ['lib', 'model', 'wire', 'replication', 'placement', 'store', 'peer'];

/** Program text never depends on tests, and the simulator only on what it simulates. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  sim: [
    'src/lib',
    'src/model',
    'src/env',
    'src/store',
    'src/wire',
    'src/replication',
    'src/placement',
    'src/engine',
  ],
  bench: [
    'src/lib',
    'src/model',
    'src/env',
    'src/engine',
    'src/placement',
    'src/peer',
    'src/replication',
    'src/control',
    'src/cli',
    'test/',
  ],
};

export function checkImports(sources: readonly Source[]): string[] {
  return sources.filter((source) => !isTest(source)).flatMap(checkSource);
}

function checkSource(source: Source): string[] {
  const [top = '', second = ''] = source.path.split('/');
  const imports = importsOf(source);
  if (top === 'src') return checkInSrc(source, second.endsWith('.ts') ? 'main' : second);
  const allowed = OUTSIDE[top];
  if (allowed === undefined) return [];
  return imports
    .filter((target) => target.includes('/') && /^(src|test|sim|bench|tools)\//.test(target))
    .filter((target) => !target.startsWith(`${top}/`))
    .filter((target) => !allowed.some((folder) => target.startsWith(folder)))
    .map((target) => `${source.path} imports ${target}: ${top}/ may import ${allowed.join(', ')}`);
}

function checkInSrc(source: Source, folder: string): string[] {
  const allowed = IMPORT_TABLE[folder];
  if (allowed === undefined) {
    return [`${source.path}: src/${folder}/ is not in the table of tools/tidy/import-table.ts`];
  }
  return importsOf(source).flatMap((target) => {
    const isNode = target.startsWith('node:');
    if (isNode && WITHOUT_NODE.includes(folder) && !isSuite(source)) {
      return [`${source.path} imports ${target}: take what you need from Env, as a parameter`];
    }
    // `holdfast sim` is the simulator itself, loaded when it is asked for.
    if (source.path === 'src/cli/commands/sim.ts' && target.startsWith('sim/replication/')) {
      return [];
    }
    if (/^(test|sim|bench|tools)\//.test(target)) {
      return [`${source.path} imports ${target}: move what both need to src/`];
    }
    const to = /^src\/([\w-]+)\//.exec(target)?.[1];
    if (to === undefined || to === folder || allowed.includes(to)) return [];
    return [
      `${source.path} imports ${target}: src/${folder} may import ${allowed.join(', ') || 'nothing'}; pass it in, or move it down`,
    ];
  });
}
