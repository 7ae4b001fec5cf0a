/** holdfast drive check: offline, reads a drive's metadata and explains what it finds. */

import fs from 'node:fs';

import type { Command } from 'commander';

import { Arena } from '../../lib/arena.ts';
import { similar } from '../../control/names.ts';
import { Refusal } from '../../model/errors.ts';
import { formatSize } from '../../model/sizes.ts';
import type { CheckOptions } from '../../store/check.ts';
import { type Context, addCommand, contextOf } from '../context.ts';
import type { Output } from '../output.ts';
import { readDrives } from './records.ts';

/** Room for the checker's cache and windows. */
const MEMORY_BYTES = 256 * 1024 * 1024;
const SHOW_EVERY_MS = 250;

export function checkDriveCommand(drive: Command): void {
  addCommand(drive, 'check <name-or-path>', {
    purpose:
      'Checks a drive that is not in use: reads its metadata, changes nothing, explains what it finds.',
    example: 'holdfast drive check .holdfast/drives/default.img',
    isLocal: true,
  })
    .option('--data-blocks', 'read and verify every data block too')
    .option(
      '--repair',
      'replay the log and rewrite rotten copies from good ones; nothing is guessed',
    )
    .action(
      async (
        name: string,
        options: { dataBlocks?: boolean; repair?: boolean },
        command: Command,
      ) => {
        const { openEnv } = await import('../../env/node/open-env.ts');
        const { checkDrive } = await import('../../store/check.ts');
        const context = contextOf(command);
        const path = fs.existsSync(name) ? name : await pathOf(name, context);
        const stats = fs.statSync(path, { throwIfNoEntry: false });
        // An open of a pipe waits for who writes to it.
        if (stats?.isFIFO() === true || stats?.isSocket() === true) {
          throw new Refusal('PATH_INVALID', {
            path,
            problem: 'it is neither a file nor a block device',
          });
        }
        const env = openEnv({ io: 'auto', memoryBytes: MEMORY_BYTES });
        const running = env.io.run();
        const report = await checkDrive(env, {
          path,
          arena: new Arena(env.io.memory),
          data: options.dataBlocks === true,
          repair: options.repair === true,
          onProgress: showEvery(context.output, path),
        }).finally(() => env.io.stop());
        await running;
        context.output.progress('');
        const lines = report.findings.map(
          (finding) =>
            `${finding.severity.toUpperCase()} ${finding.where}: ${finding.what}\n    ${finding.consequence}${finding.wayOut === undefined ? '' : `\n    ${finding.wayOut}`}`,
        );
        context.output.result(report, [...lines, report.summary].join('\n'));
        if (report.findings.some((finding) => finding.severity === 'damage')) process.exitCode = 1;
      },
    );
}

/** It is this process that checks, since the drive may be of an installation that is down: it shows how far it is by itself. */
function showEvery(output: Output, path: string): NonNullable<CheckOptions['onProgress']> {
  let shownAtMs = 0;
  return ({ doneBytes, totalBytes }) => {
    if (performance.now() - shownAtMs < SHOW_EVERY_MS) return;
    shownAtMs = performance.now();
    const percent = Math.floor((100 * doneBytes) / totalBytes);
    output.progress(`${path}: checking its data, ${percent} % of ${formatSize(totalBytes)}`);
  };
}

/** The path of a drive by its name, from the records of the installation. Throws DRIVE_NOT_FOUND for what is neither. */
async function pathOf(name: string, { installation }: Context): Promise<string> {
  const drives = await readDrives(installation.directory);
  const path = drives.find((drive) => drive.name === name)?.path;
  if (path !== undefined) return path;
  if (name.includes('/')) return name;
  const names = drives.map((drive) => drive.name);
  throw new Refusal('DRIVE_NOT_FOUND', { drive: name, hint: similar(name, names) });
}
