/** What `bin/holdfast` runs where it does not find Holdfast's own Node: says what is missing, or goes on with a Node that will do. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { HOME, runScript } from './node24.mjs';
import { isInstalled, tellMissing } from './npm-packages.mjs';

/** The npm package has JavaScript, and is installed as a whole. */
const isPackage = existsSync(join(HOME, 'src/main.js'));

if (isPackage || isInstalled()) {
  const script = isPackage ? 'src/main.js' : 'src/main.ts';
  process.exitCode = await runScript(script, process.argv.slice(2));
} else {
  process.exitCode = tellMissing(process.argv.slice(2));
}
