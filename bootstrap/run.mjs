/** `node bootstrap/run.mjs SCRIPT ARGS`: runs a script of this repository with Node 24, installing the npm packages where they are missing. */

import { runScript } from './node24.mjs';
import { install, isInstalled } from './npm-packages.mjs';

const [script, ...args] = process.argv.slice(2);
if (!isInstalled()) await install();
process.exitCode = await runScript(script, args);
