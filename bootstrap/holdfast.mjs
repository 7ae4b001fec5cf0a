/** What `bin/holdfast` runs where it does not find Holdfast's own Node: says what is missing, or goes on with a Node that will do. */

import { runScript } from './node24.mjs';
import { isInstalled } from './npm-packages.mjs';

if (isInstalled()) {
  process.exitCode = await runScript('src/main.ts', process.argv.slice(2));
} else {
  process.stderr.write(
    'holdfast: nothing is installed in this clone yet; run: npm ci --ignore-scripts   (npm start and npm test do it by themselves)\n',
  );
  process.exitCode = 1;
}
