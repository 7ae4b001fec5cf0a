/**
 * `npm test`: installs what the tests need, then runs the gate (`npm run check`) and the tests of whole processes.
 *
 * Where Debian packages are missing and cannot be installed, the tests that need them say so and are skipped.
 */

import { TEST_PACKAGES, installMissing } from './debian-packages.mjs';
import { explainEnd, runScript } from './node24.mjs';
import { install as installNpm, isInstalled } from './npm-packages.mjs';

async function main() {
  await installMissing(TEST_PACKAGES);
  if (!isInstalled()) await installNpm();
  return await runScript('tools/check.ts', ['--all', ...process.argv.slice(2)]);
}

process.exitCode = await main().catch(explainEnd);
