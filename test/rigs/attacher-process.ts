/** An attacher as a process of its own: `node test/rigs/attacher-process.ts --data DIR [--io KIND]`. */

import process from 'node:process';

import { attacherMain } from '../../src/attacher/attacher-main.ts';

process.exitCode = await attacherMain(process.argv.slice(2));
