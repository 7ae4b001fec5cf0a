/** holdfast drive check: offline, reads a drive's metadata and explains what it finds. */

import fs from 'node:fs';

import type { Command } from 'commander';

import { openEnv } from '../../env/node/open-env.ts';
import { Arena } from '../../lib/arena.ts';
import { addCommand, contextOf } from '../context.ts';
import { readDrives } from './records.ts';

/** Room for the checker's cache and windows. */
const MEMORY_BYTES = 256 * 1024 * 1024;

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
        const { checkDrive } = await import('../../store/check.ts');
        const context = contextOf(command);
        const path = fs.existsSync(name) ? name : await pathOf(name, context);
        const env = openEnv({ io: 'auto', memoryBytes: MEMORY_BYTES });
        const running = env.io.run();
        const report = await checkDrive(env, {
          path,
          arena: new Arena(env.io.memory),
          data: options.dataBlocks === true,
          repair: options.repair === true,
        }).finally(() => env.io.stop());
        await running;
        const lines = report.findings.map(
          (finding) =>
            `${finding.severity.toUpperCase()} ${finding.where}: ${finding.what}\n    ${finding.consequence}${finding.wayOut === undefined ? '' : `\n    ${finding.wayOut}`}`,
        );
        context.output.result(report, [...lines, report.summary].join('\n'));
        if (report.findings.some((finding) => finding.severity === 'damage')) process.exitCode = 1;
      },
    );
}

/** The path of a drive by its name: from the API, or from the records of an installation that is down. */
async function pathOf(
  name: string,
  { installation }: ReturnType<typeof contextOf>,
): Promise<string> {
  const drives = await readDrives(installation.directory);
  return drives.find((drive) => drive.name === name)?.path ?? name;
}
