/**
 * `node bootstrap/run.mjs [--packages=NAME,NAME] SCRIPT ARGS`: runs a script of this repository with Node 24, installing the npm
 * packages where they are missing, and the Debian packages named.
 */

import { installMissing } from './debian-packages.mjs';
import { explainEnd, runScript } from './node24.mjs';
import { install, isInstalled } from './npm-packages.mjs';

async function main() {
  const words = process.argv.slice(2);
  const packages = words[0]?.startsWith('--packages=')
    ? words.shift().slice('--packages='.length)
    : '';
  const [script, ...args] = words;
  if (packages !== '' && !args.includes('--help')) await installMissing(packages.split(','));
  if (!isInstalled()) await install();
  return await runScript(script, args);
}

process.exitCode = await main().catch(explainEnd);
