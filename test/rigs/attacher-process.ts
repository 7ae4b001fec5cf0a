/** An attacher as a process of its own: `node test/rigs/attacher-process.ts [attacher] --data DIR [--io KIND]`. */

import process from 'node:process';

import { attacherMain } from '../../src/attacher/attacher-main.ts';

// A successor is started with the role's name before its flags.
const words = process.argv.slice(2).filter((word) => word !== 'attacher');
process.exit(await attacherMain(words));
