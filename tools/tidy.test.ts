/** Our own lint: what oxlint cannot know of this repository. Each rule is tested by a text that breaks it. */

import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkDeadFiles } from './tidy/dead-files.ts';
import { checkScripts } from './tidy/documents.ts';
import { checkImports } from './tidy/import-table.ts';
import { checkDecisions, checkLock, checkPins } from './tidy/packages.ts';
import { ROOT, readSources } from './tidy/sources.ts';
import {
  checkBans,
  checkExports,
  checkFileLength,
  checkHeader,
  checkNotes,
} from './tidy/text-rules.ts';

const sources = readSources();
const packageText = readFileSync(join(ROOT, 'package.json'), 'utf8');

function holds(problems: readonly string[]): void {
  assert.equal(problems.join('\n'), '');
}

test('imports go down only', () => holds(checkImports(sources)));

test('the rule on imports catches one that goes up, a node: module in pure code, and tests in src', () => {
  const text = [
    "import { Core } from '../store/core.ts';",
    "import fs from 'node:fs';",
    "import { rig } from '../../test/rig.ts';",
  ].join('\n');
  const problems = checkImports([{ path: 'src/wire/x.ts', text }]);
  assert.equal(problems.length, 3);
  assert.match(problems[0]!, /src\/wire may import lib, model/);
  assert.equal(checkImports([{ path: 'src/unknown/x.ts', text: '' }]).length, 1);
  const upFromSim = { path: 'sim/x.ts', text: "import { c } from '../src/control/c.ts';\n" };
  assert.equal(checkImports([upFromSim]).length, 1);
  assert.equal(checkImports([{ path: 'src/engine/x.ts', text: text.split('\n')[0]! }]).length, 0);
});

test('something leads to every file', () => holds(checkDeadFiles(sources, packageText)));

test('the rule on dead files catches two that only know each other', () => {
  const files = [
    { path: 'src/lib/a.ts', text: "import './b.ts';" },
    { path: 'src/lib/b.ts', text: "import './a.ts';" },
    { path: 'src/lib/c.test.ts', text: "import './d.ts';" },
    { path: 'src/lib/d.ts', text: '' },
    { path: 'tools/e.ts', text: '/** `node tools/e.ts`: makes f. */' },
  ];
  const problems = checkDeadFiles(files, '{}');
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[0]),
    ['src/lib/a.ts', 'src/lib/b.ts'],
  );
});

test('files are short enough', () => holds(sources.flatMap(checkFileLength)));

test('the rule on length catches a file of 401 lines', () => {
  assert.equal(checkFileLength({ path: 'src/x.ts', text: 'x\n'.repeat(400) }).length, 0);
  assert.equal(checkFileLength({ path: 'src/x.ts', text: 'x\n'.repeat(401) }).length, 1);
});

test('files and exports say what they are', () => {
  holds(sources.flatMap(checkHeader));
  holds(sources.flatMap(checkExports));
});

test('the rules on docstrings catch a file and an export without', () => {
  const bare = { path: 'src/lib/heap.ts', text: 'export class Heap {}\n' };
  assert.equal(checkHeader(bare).length, 1);
  assert.equal(checkExports(bare).length, 1);
  const header = '/** Heaps. */\n\n';
  const introduced = { path: 'src/lib/heap.ts', text: header + bare.text };
  assert.equal(checkHeader(introduced).length, 0);
  assert.equal(checkExports(introduced).length, 0);
  const two = { ...introduced, text: `${introduced.text}\nexport function sift(): void {}\n` };
  assert.equal(checkExports(two).length, 1);
});

test('nothing waits for later without an issue', () => holds(sources.flatMap(checkNotes)));

test('the rule on notes catches them, and lets one with an issue pass', () => {
  const note = ['TO', 'DO'].join('');
  assert.equal(checkNotes({ path: 'a.ts', text: `// ${note}: later\n` }).length, 1);
  assert.equal(checkNotes({ path: 'a.ts', text: `// ${note}(#12): later\n` }).length, 0);
  assert.equal(checkNotes({ path: 'a.ts', text: `// ${['FIX', 'ME'].join('')}\n` }).length, 1);
});

test('no banned call is made', () => holds(sources.flatMap(checkBans)));

test('the rule on banned calls names the replacement, and reads no comments', () => {
  const call = ['Date', 'now()'].join('.');
  const problems = checkBans({ path: 'src/store/x.ts', text: `\nconst t = ${call};\n` });
  assert.match(problems.join('\n'), /x\.ts:2: .*io\.nowUs/);
  assert.equal(checkBans({ path: 'src/cli/x.ts', text: `const t = ${call};` }).length, 0);
  assert.equal(checkBans({ path: 'src/cli/x.ts', text: `const t = ${call} + 1000;` }).length, 1);
  assert.equal(checkBans({ path: 'src/store/x.ts', text: `// ${call}\n` }).length, 0);
});

test('every npm script that a document names exists', () => {
  const { scripts }: { scripts: Record<string, string> } = JSON.parse(packageText);
  const documents = globSync('{*.md,docs/**/*.md}', { cwd: ROOT }).map((path) => ({
    path,
    text: readFileSync(join(ROOT, path), 'utf8'),
  }));
  assert.ok(documents.length > 5);
  holds(checkScripts(documents, Object.keys(scripts)));
});

test('the rule on scripts catches one that does not exist, and knows families', () => {
  const check = (text: string): string[] =>
    checkScripts([{ path: 'a.md', text }], ['sim', 'chaos:cut']);
  assert.equal(check('`npm run simulate -- --seed 1`').length, 1);
  assert.equal(check('npm run bench:*').length, 1);
  assert.deepEqual(check('`npm run sim`, `npm run chaos:*`, `npm run chaos:cut -- --cuts 1`'), []);
});

test('packages are pinned, locked for every platform, and each of production has its page', () => {
  const packageJson: Parameters<typeof checkPins>[0] = JSON.parse(packageText);
  const pages = globSync('docs/decisions/*.md', { cwd: ROOT });
  holds(checkPins(packageJson));
  const texts = pages.map((page) => readFileSync(join(ROOT, page), 'utf8'));
  holds(checkDecisions(packageJson, texts));
  const lock: { packages: Parameters<typeof checkLock>[0] } = JSON.parse(
    readFileSync(join(ROOT, 'package-lock.json'), 'utf8'),
  );
  holds(checkLock(lock.packages));
});

test('the rules on packages catch a range, a missing page and a lock file of one platform', () => {
  assert.equal(checkPins({ dependencies: { a: '^1.0.0' } }).length, 1);
  assert.equal(checkDecisions({ dependencies: { a: '1.0.0' } }, ['about b and a-b']).length, 1);
  const a = { version: '1.0.0', optionalDependencies: { 'a-linux-x64': '1.0.0' } };
  assert.equal(checkLock({ 'node_modules/a': a }).length, 1);
  assert.equal(checkLock({ 'node_modules/a': { version: '1.0.0', engines: {} } }).length, 1);
});
