/**
 * `npm run package [-- FOLDER]`: makes holdfast-VERSION.tgz, what `npm install -g` takes, here or in FOLDER.
 *
 * It holds what an installation needs, and no more: the program as JavaScript, because Node strips no types below node_modules; its
 * dependencies as locked here, because npm leaves package-lock.json out.
 */

import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const COPIED = ['LICENSE', 'README.md', 'CHANGELOG.md', 'bin/holdfast', 'src/control/e2fsck.conf'];
/** What bin/holdfast runs where Holdfast's own Node is missing. */
const BOOTSTRAP = ['holdfast.mjs', 'node24.mjs', 'npm-packages.mjs'];

type Manifest = Record<string, unknown>;
type Lock = { packages: Record<string, { dev?: boolean } & Manifest> };

const stage = fs.mkdtempSync(path.join(os.tmpdir(), 'holdfast-package-'));
try {
  compile();
  for (const file of [...COPIED, ...BOOTSTRAP.map((name) => `bootstrap/${name}`)]) {
    fs.mkdirSync(path.dirname(path.join(stage, file)), { recursive: true });
    fs.copyFileSync(path.join(ROOT, file), path.join(stage, file));
  }
  write('package.json', manifest());
  write('npm-shrinkwrap.json', shrinkwrap());
  const to = path.resolve(process.argv[2] ?? ROOT);
  execFileSync('npm', ['pack', '--silent', '--pack-destination', to], {
    cwd: stage,
    stdio: 'inherit',
  });
} finally {
  fs.rmSync(stage, { recursive: true });
}

/** What main.ts leads to, and nothing else: of the simulator, that of `holdfast sim`. */
function compile(): void {
  const tsc = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const words = ['-p', path.join(ROOT, 'tsconfig.package.json'), '--outDir', stage];
  execFileSync(process.execPath, [tsc, ...words], { stdio: 'inherit' });
}

function manifest(): Manifest {
  const whole: Manifest = JSON.parse(textOf('package.json'));
  const { scripts: _, devDependencies: __, ...kept } = whole;
  return kept;
}

function shrinkwrap(): Lock {
  const lock: Lock = JSON.parse(textOf('package-lock.json'));
  const [, ...entries] = Object.entries(lock.packages);
  const { devDependencies: _, ...root } = lock.packages[''] ?? {};
  const kept = entries.filter(([, { dev }]) => dev !== true);
  return { ...lock, packages: { '': root, ...Object.fromEntries(kept) } };
}

function textOf(file: string): string {
  return fs.readFileSync(path.join(ROOT, file), 'utf8');
}

function write(file: string, value: unknown): void {
  fs.writeFileSync(path.join(stage, file), `${JSON.stringify(value, undefined, 2)}\n`);
}
