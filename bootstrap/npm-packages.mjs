/** Are the npm packages of package-lock.json here, and the work of getting them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOME, findNode, runStep } from './node24.mjs';

/** What `npm ci` downloads and then holds on disk, rounded up (linux-x64: 104 and 315 MB). */
export const NPM_DOWNLOAD_MB = 110;
export const NPM_DISK_MB = 320;

/** Whether every package of the lock file is installed in the version that it names. */
export function isInstalled(home = HOME) {
  const wanted = packagesOf(join(home, 'package-lock.json'));
  // npm writes what it installed to this file, last of all.
  const actual = packagesOf(join(home, 'node_modules/.package-lock.json'));
  if (wanted === undefined || actual === undefined) return false;
  // Optional packages are those of other platforms; of ours, Node is the one that must be there.
  const isThere = ([path, { version, optional }]) =>
    path === '' || optional === true || actual[path]?.version === version;
  return Object.entries(wanted).every(isThere) && findNode() !== undefined;
}

function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Says on standard error, in JSON where the words of the command ask for it, that packages are missing. Returns the exit status. */
export function tellMissing(words) {
  // PACKAGES_MISSING in src/model/errors.ts.
  const detail = `Not all npm packages of Holdfast are installed in "${HOME}"`;
  const wayOut =
    'npm ci --ignore-scripts there installs them; npm start and npm test do it by themselves';
  const json = words.includes('--output=json') || words[words.indexOf('--output') + 1] === 'json';
  const problem = { code: 'PACKAGES_MISSING', detail, wayOut, details: { home: HOME } };
  process.stderr.write(json ? `${JSON.stringify(problem)}\n` : `${detail}\n${wayOut}\n`);
  return 1;
}

/** Runs `npm ci`; throws when it fails. No package's own scripts run. */
export async function install() {
  process.stdout.write('Installing npm packages: npm ci --ignore-scripts\n');
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const status = await runStep('npm', args, { cwd: HOME });
  if (status !== 0) throw new Error(`npm ci ended with status ${status}`);
  if (!isInstalled()) {
    throw new Error(
      `npm ci left packages out; is ${process.platform}-${process.arch} without Node 24?`,
    );
  }
}
