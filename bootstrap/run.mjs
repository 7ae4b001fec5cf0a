/**
 * `node bootstrap/run.mjs [--packages=NAME,NAME] [--optional-packages=NAME,NAME] SCRIPT ARGS`: runs a script of this repository with
 * Node 24, installing the npm packages where they are missing, and the Debian packages named. It goes on without those that are
 * optional where they cannot be had.
 */

import { installMissing, installOptional } from './debian-packages.mjs';
import { explainEnd, runScript } from './node24.mjs';
import { install, isInstalled } from './npm-packages.mjs';

async function main() {
  const words = process.argv.slice(2);
  const packages = takeList(words, '--packages=');
  const optional = takeList(words, '--optional-packages=');
  const [script, ...args] = words;
  if (!args.includes('--help')) {
    await installMissing(packages);
    await installOptional(optional);
  }
  if (!isInstalled()) await install();
  return await runScript(script, args);
}

/** Takes the first word away where it begins so; returns the names in it. */
function takeList(words, option) {
  return words[0]?.startsWith(option) ? words.shift().slice(option.length).split(',') : [];
}

process.exitCode = await main().catch(explainEnd);
