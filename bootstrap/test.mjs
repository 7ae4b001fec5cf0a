/**
 * `npm test`: installs what the tests need, then runs the gate (`npm run check`) and the tests of whole processes.
 *
 * Where Debian packages are missing and cannot be installed, the tests that need them say so and are skipped.
 */

import {
  TEST_PACKAGES,
  install as installDebian,
  installProblem,
  missing,
} from './debian-packages.mjs';
import { runScript } from './node24.mjs';
import { install as installNpm, isInstalled } from './npm-packages.mjs';

const packages = missing(TEST_PACKAGES);
const problem = installProblem();
if (packages.length > 0 && problem === undefined) {
  await installDebian(packages);
} else if (packages.length > 0) {
  process.stdout.write(`Not installed, ${problem}: ${packages.join(' ')}\n`);
}
if (!isInstalled()) await installNpm();
process.exitCode = await runScript('tools/check.ts', ['--all', ...process.argv.slice(2)]);
